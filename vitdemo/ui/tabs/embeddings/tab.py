"""The Embeddings tab: a gallery as a map, layer by layer.

Photos are uploaded as in Classify's “Many photos”. The page's script fetches the numbers of each layer's map once and draws the map itself;
hover, zoom and lasso send no request to the server.
"""

from typing import Any

import gradio as gr

from vitdemo.core.inference.model_store import ModelStore
from vitdemo.ui.components import gallery_upload
from vitdemo.ui.components.active_tab import ActiveTab
from vitdemo.ui.components.current_photo import CurrentPhoto
from vitdemo.ui.errors import user_message
from vitdemo.ui.server.gradio_internals import event_payload
from vitdemo.ui.tabs.embeddings import routes
from vitdemo.ui.tabs.embeddings.map_pages import kept_pages
from vitdemo.ui.tabs.embeddings.sessions import EmbeddingJobs
from vitdemo.ui.templating import html, static_text

TAB = "embeddings"  # the tab's id
LEAD = "Folders become labels, and each layer is scored by them."


def build(store: ModelStore, current: CurrentPhoto, jobs: EmbeddingJobs, opened: ActiveTab) -> None:
    """Lay out the tab and connect its events."""
    panel = gallery_upload.build(
        TAB,
        store,
        tab=TAB,
        lead=LEAD,
        command="embed",
        markup=html(
            "embeddings/embeddings",
            kept=[path.stem for path in kept_pages(store.settings.maps_dir)],
            map=static_text("photo_map/map.html"),
            layers=static_text("photo_map/layers.html"),
        ),
        module="embeddings/tab",
    )
    quiet: dict[str, Any] = {
        "show_progress": "hidden",
        "api_visibility": "private",
        "queue": False,
        "preprocess": False,
        "trigger_mode": "multiple",
    }

    def send(event: gr.EventData) -> str:
        """Make a photo of the gallery the current photo of every tab."""
        try:
            return routes.original(jobs, event_payload(event).get("gallery"), event_payload(event).get("id"))
        except Exception as error:
            raise gr.Error(user_message(error), print_exception=False) from None

    opened.then(lambda: jobs.mapper.warm(), [], [], **quiet)  # the mapper starts while the visitor selects photos
    sent = panel.submit(send, None, current.photo, **quiet)
    sent.success(None, None, None, js=static_text("embeddings/to_attention.js"), **quiet)
