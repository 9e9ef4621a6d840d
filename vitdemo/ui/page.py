"""The page: header and tabs."""

import gradio as gr

from vitdemo.core.config import Settings
from vitdemo.core.store import ModelStore
from vitdemo.ui import (
    api,
    attention_api,
    attention_tab,
    classify_tab,
    embed_api,
    embeddings_tab,
    export_api,
    export_tab,
    finetune_api,
    finetune_tab,
    gallery_panel,
    model_header,
)
from vitdemo.ui.export_trial import Trial
from vitdemo.ui.guard import Page
from vitdemo.ui.opened import Opened
from vitdemo.ui.visitors import Visitors

UNDER_WAY = 4  # times as many requests as may wait in any one line of ours, so that each is refused there, where the page shows it
BETWEEN_LOOKS = 0.02  # seconds between Gradio's looks for what waits; at its own pace they take a twentieth of a core all day long


def build(settings: Settings, store: ModelStore, visitors: Visitors | None = None) -> gr.Blocks:
    """The whole page, not yet served. Nothing that only a tab needs is imported or loaded here."""
    visitors = visitors or Visitors(store)
    scenes, embeddings, lessons, exports = visitors.scenes, visitors.embeddings, visitors.lessons, visitors.exports
    with Page(title="vitdemo", analytics_enabled=False) as page:
        header = model_header.build(store)
        active = gr.Textbox(classify_tab.NAME, visible="hidden", label="open tab")
        with gr.Tabs():
            with gr.Tab("Classify", id=classify_tab.NAME) as tab, gr.Tabs():
                opened = Opened(active, tab)
                with gr.Tab("One photo", id="one"):
                    trial = Trial(exports, visitors.desk)
                    current = classify_tab.build(page, store, header, visitors.turns, visitors.desk, opened)
                    trial.follow(current, opened)
                with gr.Tab("Many photos", id="many"):
                    gallery_panel.build(store, header, visitors.galleries)
            with gr.Tab("Attention", id=attention_tab.NAME) as tab:
                attention_tab.build(header, current, Opened(active, tab), scenes, visitors.looking, visitors.desk)
            with gr.Tab("Embeddings", id=embeddings_tab.NAME) as tab:
                mapping = Opened(active, tab)
                embeddings_tab.build(store, header, current, embeddings, lessons, mapping)
            with gr.Tab("Fine-tune", id=finetune_tab.NAME) as tab:
                finetune_tab.build(store, header, lessons)
            model_header.follow(store, header, [mapping, Opened(active, tab)], visitors.watching)
            with gr.Tab("Export", id=export_tab.NAME) as tab:
                export_tab.build(store, header, exports, trial, Opened(active, tab))
        api.build(store, visitors.galleries, visitors.desk)
        attention_api.build(scenes, visitors.desk)
        embed_api.build(store, embeddings)
        finetune_api.build(lessons)
        export_api.build(exports)

        def leave(request: gr.Request) -> None:
            visitor = request.session_hash or ""
            visitors.leave(visitor)
            trial.leave(visitor)

        page.unload(leave)
    page.queue(max_size=UNDER_WAY * settings.max_queue, default_concurrency_limit=4)
    page._queue.sleep_when_free = page._queue.progress_update_sleep_when_free = BETWEEN_LOOKS
    return page
