"""An exported model beside its original in Classify: which is asked, what is shown, and how long models are kept."""

from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest

from tests.support.pictures import noise
from tests.support.waiting import finished
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.export import exported
from vitdemo.export.plan import Plan
from vitdemo.ui.server.upload import Upload
from vitdemo.ui.sessions.photo_requests import PhotoRequests
from vitdemo.ui.tabs.export.comparison import NO_PHOTO, ModelComparison


class Loading:
    """The original, which is there at the third look."""

    def __init__(self, vit):
        looks = iter((False, False))
        self.vit, self.title, self.progress = vit, "a model", None
        self.done = SimpleNamespace(is_set=lambda: next(looks, True))

    def result(self, seconds: float):
        return self.vit


@pytest.fixture
def store(vit, engine):
    store = SimpleNamespace(settings=Settings(), engine=engine, loading=Loading(vit), asked=[], left=[])
    store.get = lambda name, holder: store.asked.append((name, holder)) or store.loading
    store.leave = store.left.append
    return store


@pytest.fixture
def session(tmp_path):
    bundle = tmp_path / "bundle-1" / "vit"
    return SimpleNamespace(id="one", done=True, bundle=bundle, job=object(), model="m", plan=Plan("onnx", "int8"))


@pytest.fixture
def comparison(store, session):
    def get(id: str):
        if id != session.id:
            raise UserError("This export is not here any more: start again.")
        return session

    with gr.Blocks():
        return ModelComparison(SimpleNamespace(store=store, get=get), PhotoRequests(None))


@pytest.fixture
def other(vit, monkeypatch):
    """The exported model: it is loaded in no time, and its answers are the original's."""
    loaded = []

    def load(folder):
        loaded.append(folder)
        return SimpleNamespace(
            name="vit int8",
            runtime="ONNX Runtime",
            preprocessing=vit.preprocessing,
            labels=vit.labels,
            number=len(loaded),
            logits=vit.logits,
        )

    monkeypatch.setattr(exported, "load", load)
    return loaded


@pytest.fixture
def photo(tmp_path) -> Upload:
    noise(600, 300).save(tmp_path / "photo.png")
    return Upload(tmp_path / "photo.png", "<b>photo</b>.png")


def test_an_export_is_named_with_its_folder(comparison, session):
    assert comparison._session("one/bundle-1") is session
    with pytest.raises(UserError, match="not here any more"):
        comparison._session("two/bundle-1")
    for tried in ("one/bundle-2", "one", "one/"):
        with pytest.raises(UserError, match="Another export has taken the place of this one"):
            comparison._session(tried)
    session.done = False
    with pytest.raises(UserError, match="Another export"):
        comparison._session("one/bundle-1")


def test_both_answers_are_shown(comparison, session, store, photo, other, monkeypatch):
    from vitdemo.classify import compare

    asked = []

    def both(first, second, tensor, engine):
        asked.append((first, second.name, tuple(tensor.shape), engine))
        raise UserError("asked")

    monkeypatch.setattr(compare, "compare_models", both)
    answer = comparison._compare(session, photo, "holder")
    assert asked == [(store.loading.vit, "vit int8", (3, 224, 224), store.engine)]
    assert (answer.complete, "asked" in answer.value) == (False, True)
    assert store.asked == [("m", "holder")]
    nothing = comparison._compare(session, None, "holder")
    assert (nothing.complete, NO_PHOTO in nothing.value) == (True, True)


def test_the_answers_name_both_sides(comparison, session, store, photo, vit, engine, other, monkeypatch):
    from vitdemo.classify import compare

    image = vit.preprocessing(noise(600, 300))
    pair = compare.compare_models(vit, vit, image, engine)
    monkeypatch.setattr(compare, "compare_models", lambda *_: pair)
    html = comparison._answers(session, photo, vit)
    assert "the original, torch on CPU" in html
    assert "int8, ONNX Runtime" in html
    assert "<b>photo" not in html
    assert html.count("data:image/jpeg;base64,") == 1
    assert pair.first.predictions[0].label.name in html


def test_the_original_is_waited_for_only_where_there_is_a_photo(comparison, session, store, photo, monkeypatch):
    async def texts(upload) -> list[str]:
        return [step.text async for step in comparison._original(session, upload, "holder")]

    monkeypatch.setattr("vitdemo.ui.tabs.export.comparison.POLL_SECONDS", 0)
    assert finished(texts(None)) == []
    assert store.asked == []
    assert finished(texts(photo)) == ["Getting ready to load a model …"] * 3
    assert store.asked == [("m", "holder")]
    assert len(finished(texts(photo))) == 1  # it is there


def test_two_exported_models_are_kept(comparison, session, other):
    jobs = [object(), object(), object()]

    def number(job) -> int:
        session.job = job
        return comparison._model(session).number

    assert [number(jobs[place]) for place in (0, 1, 0, 2, 0, 1)] == [1, 2, 1, 3, 1, 4]  # the one used longest ago goes
    assert len(other) == 4


def test_a_comparison_begins_with_the_photo_of_the_known_answer(comparison, session, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    known = session.bundle / "known_answer"
    known.mkdir(parents=True)
    noise(20, 10).save(known / "photo.png")
    (known / "answer.json").write_text('{"name": "../Shih-Tzu dog"}', "utf-8")
    session.file = session.bundle.joinpath
    begun = {}
    then = SimpleNamespace(then=lambda **answer: begun.update(answer=answer))
    panel = SimpleNamespace(select=lambda fn, inputs, outputs, **_: begun.update(fn=fn) or then)
    comparison._photo = None
    comparison.offer(panel)
    event = SimpleNamespace(_data={"tried": "one/bundle-1"})
    tried, photo = begun["fn"](None, event)
    assert (tried, Path(photo).name) == ("one/bundle-1", "Shih-Tzu-dog.png")
    assert Path(photo).is_relative_to(tmp_path / "uploads")
    assert Path(photo).read_bytes() == (known / "photo.png").read_bytes()
    assert begun["fn"]({"path": "x"}, event) == ("one/bundle-1", gr.skip())
    assert begun["fn"](None, SimpleNamespace(_data=None)) == ("", gr.skip())
