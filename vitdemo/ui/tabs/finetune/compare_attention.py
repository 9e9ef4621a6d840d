"""Where the model looked before it learned, and where it looks now: attention rollout of one photo by both."""

from vitdemo.core.outputs import read_json
from vitdemo.ui.finetune_lesson import Lesson
from vitdemo.ui.finetune_runs import Lessons
from vitdemo.ui.render import data_uri, html

LONGEST = 340  # pixels of a picture's longer side
PATIENCE = 120.0  # seconds that a model may take to load


def before_and_after(lessons: Lessons, lesson: Lesson, own: str) -> str:
    """Two overlays as HTML: of the photo that it gets wrong most confidently, or of the first one where it gets none wrong.

    Args:
        own: the result's name in the store.

    Raises: UserError where a model can't be had.
    """
    report = read_json(lesson.result / "report.json")
    row = report["photos"][report["worst"][0] if report["worst"] else 0]
    store, settings = lessons.store, lessons.settings
    before, after = (store.get(name).result(PATIENCE) for name in (lesson.model, own))
    from vitdemo.attention import maps, render
    from vitdemo.core.photos import decode
    from vitdemo.core.trace import check_room
    from vitdemo.core.trace_cache import run_trace

    item = lesson.items[lesson.number_of(row)]
    photo = decode(item.read(settings), item.shown, settings)
    pictures = []
    for title, vit in (("before", before), ("after", after)):
        check_room(vit, vit.preprocessing.size, settings.trace_cache_mb)
        heat = maps.rollout(run_trace(vit, store.engine, vit.preprocessing(photo.image)))
        picture = render.overlay(photo.image, heat, vit.preprocessing.geometry(photo.image.size, vit.patch))
        picture.thumbnail((LONGEST, LONGEST))
        pictures.append((title, data_uri(picture.convert("RGB"), "JPEG")))
    return html("finetune_attention", pictures=pictures, row=row, same=report["weights_of"]["stage"] == "head")
