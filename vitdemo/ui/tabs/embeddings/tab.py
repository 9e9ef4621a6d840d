"""The Embeddings tab: a gallery as a map, layer by layer.

Photos are given as in Classify's “Many photos”. The page's script draws the map from numbers fetched once for each layer; hover, zoom and
lasso ask nothing of the server.
"""

import gradio as gr

from vitdemo.core.store import ModelStore
from vitdemo.ui import embedding_answers, embedding_teach, giving
from vitdemo.ui.classify_tab import CurrentPhoto
from vitdemo.ui.embedding_runs import EmbeddingRuns
from vitdemo.ui.finetune_runs import Lessons
from vitdemo.ui.guard import bound, sentence, told
from vitdemo.ui.map_pages import kept, kept_pages
from vitdemo.ui.model_header import ModelHeader
from vitdemo.ui.opened import Opened
from vitdemo.ui.render import WEB, html

NAME = "embeddings"  # of the tab
LEAD = "Folders become labels, and each layer is scored by them."
MAP = ("map_camera", "map_thumbnails", "map_colours", "map_pixels", "map_paint", "map", "map_hand", "map_panel", "map_layers", "map_export")
SCRIPTS = (*MAP, "embeddings_map", "embeddings_photo", "embeddings_teach", "embeddings_chosen", "embeddings_kept")


def build(store: ModelStore, header: ModelHeader, current: CurrentPhoto, runs: EmbeddingRuns, lessons: Lessons, opened: Opened) -> None:
    """Lay out the tab and wire it."""
    panel = giving.build(
        NAME,
        store,
        header,
        lead=LEAD,
        command="embed",
        markup=html(
            "embeddings",
            kept=[each.stem for each in kept_pages(store.settings.maps_dir)],
            map=(WEB / "map.html").read_text("utf-8"),
            layers=(WEB / "map_layers.html").read_text("utf-8"),
        ),
        scripts=[f"{name}.js" for name in SCRIPTS],
        functions=[*embedding_answers.functions(runs), bound(kept, store.settings.maps_dir), embedding_teach.function(runs, lessons)],
        start=runs.start,
        attach=runs.attach,
    )
    quiet = {"show_progress": "hidden", "api_visibility": "private", "queue": False, "preprocess": False, "trigger_mode": "multiple"}

    def send(event: gr.EventData) -> str:
        """Make a photo of the gallery the current one, in every tab."""
        try:
            return embedding_answers.original(runs, told(event).get("run"), told(event).get("id"))
        except Exception as error:
            raise gr.Error(sentence(error), print_exception=False) from None

    opened.then(lambda: runs.mapper.warm(), [], None, **quiet)  # a photo takes longer to choose than its process to start
    sent = panel.submit(send, None, current.photo, **quiet)
    sent.success(None, None, None, js=(WEB / "to_attention.js").read_text("utf-8"), **quiet)
