"""Compare attention before and after fine-tuning: attention rollout of one photo with both models."""

from vitdemo.core.outputs import read_json
from vitdemo.ui.tabs.finetune.runs import run_of
from vitdemo.ui.tabs.finetune.session import FinetuneSession
from vitdemo.ui.tabs.finetune.sessions import FinetuneSessions
from vitdemo.ui.templating import data_uri, html

MAX_PIXELS = 340  # longer side of a picture
LOAD_SECONDS = 120.0  # timeout for loading a model


def before_and_after(sessions: FinetuneSessions, session: FinetuneSession, own: str) -> str:
    """Draw two overlays as HTML, for the most confident mistake, or for the first photo if there is no mistake.

    Args:
        own: the fine-tuned model's name in the store.

    Raises: UserError where a model can't be loaded, or the photo can't be read.
    """
    report = read_json(session.result / "report.json")
    row = report["photos"][report["worst"][0] if report["worst"] else 0]
    store, settings = sessions.store, sessions.settings
    before, after = (store.get(name).result(LOAD_SECONDS) for name in (run_of(session).model, own))
    from vitdemo.attention.drawing import render
    from vitdemo.attention.methods import maps
    from vitdemo.attention.methods.artefacts import find_artefacts, without_artefacts
    from vitdemo.core.inference.trace import check_room
    from vitdemo.core.inference.trace_cache import run_trace
    from vitdemo.core.photos.photo import decode

    item = session.items[session.number_of(row)]
    photo = decode(item.read(settings), item.shown, settings)
    pictures, left_out = [], 0
    for title, vit in (("before", before), ("after", after)):
        check_room(vit, vit.preprocessing.size, settings.trace_cache_mb)
        trace = run_trace(vit, store.engine, vit.preprocessing(photo.image))
        artefacts = find_artefacts(trace)
        left_out = max(left_out, len(artefacts.places))
        heat = without_artefacts(maps.rollout(trace), artefacts)
        picture = render.overlay(photo.image, heat, vit.preprocessing.geometry(photo.image.size, vit.patch))
        picture.thumbnail((MAX_PIXELS, MAX_PIXELS))
        pictures.append((title, data_uri(picture.convert("RGB"), "JPEG")))
    return html("finetune/attention", pictures=pictures, row=row, left_out=left_out, same=report["weights_of"]["stage"] == "head")
