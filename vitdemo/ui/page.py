"""The page: header and tabs."""

import gradio as gr

from vitdemo.core.config import Settings
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui.components import anywhere, identity, model_picker
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.server.gradio_internals import Page, set_queue_pace
from vitdemo.ui.server.page_routes import PageRoutes
from vitdemo.ui.tabs.attention import api as attention_api
from vitdemo.ui.tabs.attention import tab as attention_tab
from vitdemo.ui.tabs.attention.routes import AttentionRoutes
from vitdemo.ui.tabs.classify import api, gallery_panel
from vitdemo.ui.tabs.classify import tab as classify_tab
from vitdemo.ui.tabs.classify.routes import ClassifyRoutes
from vitdemo.ui.tabs.embeddings import api as embed_api
from vitdemo.ui.tabs.embeddings import tab as embeddings_tab
from vitdemo.ui.tabs.embeddings.routes import EmbeddingsRoutes
from vitdemo.ui.tabs.export import api as export_api
from vitdemo.ui.tabs.export import tab as export_tab
from vitdemo.ui.tabs.export.comparison import ModelComparison
from vitdemo.ui.tabs.export.routes import ExportRoutes
from vitdemo.ui.tabs.finetune import api as finetune_api
from vitdemo.ui.tabs.finetune import tab as finetune_tab
from vitdemo.ui.tabs.finetune.routes import FinetuneRoutes
from vitdemo.ui.visitors import Visitors

GRADIO_QUEUE_FACTOR = 4  # length of Gradio's queue ÷ length of our queues: ours fill first, and refuse in a sentence
QUEUE_POLL_SECONDS = 0.02  # between two polls of Gradio's queue; Gradio's own pace takes a twentieth of a core all day long


def build(settings: Settings, store: ModelStore, visitors: Visitors | None = None) -> gr.Blocks:
    """Build the whole page without serving it. What only one tab needs is not imported or loaded here."""
    visitors = visitors or Visitors(store)
    with Page(title="vitdemo", analytics_enabled=False) as page:
        header = model_picker.build(page, store, visitors.retry)
        active = gr.Textbox(classify_tab.TAB, visible="hidden", label="open tab")
        with gr.Tabs():
            with gr.Tab("Classify", id=classify_tab.TAB) as tab, gr.Tabs():
                classify_active = ActiveTab(active, tab)
                with gr.Tab("One photo", id="one"):
                    comparison = ModelComparison(visitors.export_sessions, visitors.comparison_requests)
                    current = classify_tab.build(header, visitors.classify_requests, classify_active, visitors.photo_answers)
                    comparison.follow(current, classify_active)
                with gr.Tab("Many photos", id="many"):
                    gallery_panel.build(store)
            with gr.Tab("Attention", id=attention_tab.TAB) as tab:
                attention_tab.build(header, current, ActiveTab(active, tab), visitors.attention_sessions, visitors.attention_requests)
            with gr.Tab("Embeddings", id=embeddings_tab.TAB) as tab:
                embeddings_active = ActiveTab(active, tab)
                embeddings_tab.build(store, current, visitors.embedding_jobs, embeddings_active)
            with gr.Tab("Fine-tune", id=finetune_tab.TAB) as tab:
                finetune_tab.build(store, header)
            model_picker.follow(store, header, [embeddings_active, ActiveTab(active, tab)], visitors.picker_requests)
            with gr.Tab("Export", id=export_tab.TAB) as tab:
                export_tab.build(store, header, comparison, ActiveTab(active, tab))
        anywhere.build(current.photo)
        api.build(store, visitors.classify_jobs, visitors.photo_queue)
        attention_api.build(visitors.attention_sessions, visitors.photo_queue)
        embed_api.build(store, visitors.embedding_jobs)
        finetune_api.build(visitors.finetune_sessions)
        export_api.build(visitors.export_sessions)

        def leave(request: gr.Request) -> None:
            visitors.leave(request.session_hash or "")

        identity.build(page, header)
        page.unload(leave)
    page.queue(max_size=GRADIO_QUEUE_FACTOR * settings.max_queue, default_concurrency_limit=4)
    set_queue_pace(page, QUEUE_POLL_SECONDS)
    return page


def routes(visitors: Visitors) -> PageRoutes:
    """What the page's scripts may ask, tab by tab."""
    return PageRoutes(
        [
            ClassifyRoutes(visitors.classify_jobs),
            AttentionRoutes(visitors.attention_sessions),
            EmbeddingsRoutes(visitors.embedding_jobs, visitors.finetune_sessions),
            FinetuneRoutes(visitors.finetune_sessions),
            ExportRoutes(visitors.export_sessions),
        ],
        GRADIO_QUEUE_FACTOR * visitors.settings.max_queue,
    )
