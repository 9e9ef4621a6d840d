"""What the Classify tab answers for one photo: the model's classes, the view, and what a person gets wrong in words."""

import base64
import gc
import hashlib
import io
import re
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.pictures import noise
from tests.support.waiting import finished
from vitdemo.attention.drawing.render import light
from vitdemo.attention.methods.gradients import attention_gradient
from vitdemo.attention.methods.maps import relevances
from vitdemo.classify.photo import classify
from vitdemo.core.config import Settings
from vitdemo.core.errors import UserError
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.core.inference.trace_cache import run_trace
from vitdemo.core.models.labels import Label
from vitdemo.core.models.ood import OodDetector
from vitdemo.core.models.predictions import Prediction
from vitdemo.core.photos.photo import open_photo
from vitdemo.ui.components import model_picker
from vitdemo.ui.components.preprocessing_panel import OWN
from vitdemo.ui.components.samples import first_sample
from vitdemo.ui.server.upload import upload_of
from vitdemo.ui.sessions.photo_requests import Answer, Waiting
from vitdemo.ui.tabs.attention.sessions import AttentionSessions
from vitdemo.ui.tabs.classify import tab
from vitdemo.ui.tabs.classify.photo_answers import PhotoAnswers

PLAIN = (OWN,) * 6


@pytest.fixture
def store(vit, engine):
    def get(name, visitor):
        return SimpleNamespace(result=lambda timeout: vit, vit=vit, done=SimpleNamespace(is_set=lambda: True))

    return SimpleNamespace(settings=Settings(), engine=engine, get=get, title_of=lambda name: "the model")


@pytest.fixture
def answers(store) -> PhotoAnswers:
    return PhotoAnswers(AttentionSessions(store))


@pytest.fixture
def component(tmp_path):
    """Gradio's image, as far as uploads know it."""
    return SimpleNamespace(GRADIO_CACHE=str(tmp_path))


@pytest.fixture
def payload(tmp_path) -> dict:
    noise(60, 40).save(tmp_path / "photo.png")
    return {"path": str(tmp_path / "photo.png"), "orig_name": "my photo.png"}


def names(html: str) -> list[str]:
    return re.findall(r'<li>.*?class="label"[^>]*>([^<]+)<', html, re.DOTALL)


def outputs(answers, component, payload, recipe=PLAIN) -> Answer:
    return tab._outputs(answers, "ann", lambda: upload_of(payload, component), "m", recipe)


def test_a_photos_answer_is_the_models(answers, component, payload, vit, engine):
    answer = outputs(answers, component, payload)
    html, view, about, size = answer.value
    expected = classify(noise(60, 40), vit, engine, top=20).predictions
    assert answer.complete
    assert names(html) == [each.label.name.replace("<b>egg</b>", "&lt;b&gt;egg&lt;/b&gt;") for each in expected[:5]]
    assert html.count("<li hidden>") == len(expected) - 5
    assert "my photo.png" in html
    first, rival = (each.label for each in expected[:2])
    photo = hashlib.sha256(Path(payload["path"]).read_bytes()).hexdigest()
    assert f'data-photo="{photo}" data-target="{first.index}" data-other="{rival.index}"' in html
    assert f'data-path="{payload["path"]}"' in view
    assert 'class="map"' not in view  # which only samples have
    assert size["value"] == OWN
    assert "224" in about


def test_a_converted_models_code_is_a_sentence(answers, store, component, payload, vit):
    loading = store.get("m", "ann")
    store.get = lambda name, visitor: loading
    loading.vit = replace(vit, plain=False)
    loading.result = lambda timeout: loading.vit
    html = outputs(answers, component, payload).value[0]
    assert 'data-python="# Plain timm can&#39;t open this model&#39;s files as they are: export it as SafeTensors' in html


def test_a_refused_photo_has_no_class(answers, store, component, payload, vit):
    loading = store.get("m", "ann")
    store.get = lambda name, visitor: loading
    width = vit.module.embed_dim
    loading.vit = replace(vit, ood=OodDetector(torch.full((len(vit.labels), width), 1e4), torch.eye(width), 1.0, refuses=True))
    loading.result = lambda timeout: loading.vit
    html, view, *_ = outputs(answers, component, payload).value
    assert "It says <strong>none of its classes</strong>" in html
    assert "it is set to refuse that" in html
    assert "data-json" not in html
    assert f'data-path="{payload["path"]}"' in view


@pytest.mark.parametrize(("chances", "said"), [((0.6, 0.2), "It almost said"), ((0.81, 0.2), "Next comes"), ((1.0,), None)])
def test_the_answer_in_a_sentence(chances, said):
    first, *others = (Prediction(Label(index, f"thing {index}"), chance) for index, chance in enumerate(chances))
    answer = {
        "predictions": [first, *others],
        "milliseconds": 1.0,
        "notes": [],
        "name": "a",
        "model": "m",
        "id": "m",
        "unfamiliar": None,
        "entropy": 0.5,
        "most": 1.0,
    }
    html = tab._answer(answer | {"said": {"first": first, "rival": others[0] if others else None, "photo": "x"}})
    sentence = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", re.search(r'class="says">(.*?)</p>', html, re.DOTALL)[1])).strip()
    assert sentence == f"It says thing 0, {100 * chances[0]:.1f} %." + (f" {said} thing 1, 20.0 %." if said else "")
    assert ("It almost said" in html, "Next comes" in html) == (said == "It almost said", said == "Next comes")


def test_another_preprocessing_is_said_to_be_one(answers, component, payload, vit):
    recipes = (PLAIN, (OWN, OWN, OWN, OWN, "CLIP", OWN))
    own, other = (outputs(answers, component, payload, recipe).value for recipe in recipes)
    assert own[2] != other[2]
    assert own[0] != other[0]
    assert "in the colours the model takes them for" in other[1]


def test_without_a_photo_the_model_is_there_all_the_same(answers, component):
    answer = outputs(answers, component, None)
    html, view, about, _ = answer.value
    assert not answer.complete
    assert tab.EMPTY_ANSWER in html.replace("&#39;", "'")
    assert view == tab.NO_VIEW
    assert "224" in about


def test_what_goes_wrong_is_a_sentence_beside_what_went_right(answers, store, component, payload, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"no photo")
    answer = outputs(answers, component, payload)
    assert not answer.complete
    assert "“my photo.png” is not a photo" in answer.value[0]
    assert "224" in answer.value[2]
    answer = outputs(answers, component, {"path": "/etc/passwd"})
    assert "Send the photo as an uploaded file." in answer.value[0]

    def fail(timeout: float):
        raise UserError("This model is not here.")

    store.get = lambda *_: SimpleNamespace(result=fail)
    assert "This model is not here." in outputs(answers, component, payload).value[0]


def test_a_model_without_classes_still_sees_the_photo(answers, store, component, payload, vit):
    answers.store.get = lambda *_: SimpleNamespace(result=lambda timeout: replace(vit, labels=()))
    html, view, *_ = outputs(answers, component, payload).value
    assert "gives features, not classes" in html
    assert "<svg" in view


def test_a_samples_answer_is_kept_with_its_maps(answers, vit, engine, monkeypatch):
    sample = first_sample(vit)
    photo = open_photo(sample.path, Settings(), name="mine.jpg")
    found = answers.get(photo, vit, vit.preprocessing)
    assert len(found.view.maps) == len(vit.module.blocks)
    assert (found.answer["name"], found.answer["said"]["photo"]) == ("mine.jpg", sample.id)
    monkeypatch.setattr(engine, "logits", None)  # the model is not asked again
    monkeypatch.setattr(engine, "run", None)
    again = answers.get(replace(photo, name="yours.jpg"), vit, vit.preprocessing)
    assert (again.view, again.answer["name"]) == (found.view, "yours.jpg")
    assert again.answer["predictions"] == found.answer["predictions"]


def test_a_busy_moment_is_not_kept(answers, vit, engine, monkeypatch):
    photo = open_photo(first_sample(vit).path, Settings())

    def refuse(*_):
        raise UserError("The app is busy.")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "logits", refuse)
        assert str(answers.get(photo, vit, vit.preprocessing).error) == "The app is busy."
    assert answers.get(photo, vit, vit.preprocessing).answer


def test_neither_answers_nor_errors_keep_a_model(answers, vit):
    photo = open_photo(first_sample(vit).path, Settings())
    for labels in (vit.labels, ()):
        own = replace(vit, labels=labels)
        answers.get(photo, own, own.preprocessing)
        kept = weakref.ref(own)
        del own
        gc.collect()
        assert kept() is None


def test_the_maps_are_the_relevance_up_to_each_layer(answers, vit, engine):
    """The map's pixels, laid over the photo, are those of the overlay at the same size."""
    photo = open_photo(first_sample(vit).path, Settings())
    found = answers.get(photo, vit, vit.preprocessing)
    tensor, target = vit.preprocessing(photo.image), found.answer["predictions"][0].label.index
    heats = relevances(run_trace(vit, engine, tensor), attention_gradient(vit, engine, tensor, target))
    encoded = base64.b64decode(found.view.maps[-1].removeprefix("data:image/webp;base64,"))
    drawn = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGBA"), float)
    expected = np.asarray(light(heats[-1], (320, 320)), float)
    assert drawn.shape == expected.shape
    shown, wanted = (each[..., :3] * each[..., 3:] / 255 for each in (drawn, expected))
    assert np.abs(shown - wanted).mean() < 3  # of 255; WebP loses a little


def test_on_load_a_sample_that_suits_the_model_is_the_photo(answers, component, vit):
    answer = tab._sample(answers, "ann", "m", empty=False)
    html, view, _, _, path = answer.value
    sample = first_sample(vit)
    assert Path(path).read_bytes() == sample.path.read_bytes()
    assert f'data-path="{path}"' in view
    assert sample.path.name in html
    assert answer.asked == (path, "m", "the model", *PLAIN)  # so that the photo's own event needs no answer
    empty = tab._sample(answers, "ann", "m", empty=True)
    assert (empty.value[1], empty.value[4], empty.complete) == (tab.NO_VIEW, gr.skip(), False)


class Requests:
    """Requests whose steps are known; `asked` has what they are about."""

    def __init__(self, *steps):
        self.steps, self.asked, self.superseded = steps, [], []

    def supersede(self, visitor):
        self.superseded.append(visitor)

    async def answer(self, visitor, client, asked, watching, work):
        self.asked.append((visitor, client, asked))
        async for waiting in watching:
            yield waiting
        for step in self.steps:
            if isinstance(step, Exception):
                raise step
            yield step


def responded(requests: Requests, monkeypatch, payload, active: str = "classify", only_photos: bool = False) -> list[tuple]:
    async def watch(store, name, visitor):
        yield Waiting("Loading ViT …", 0.5, "status")

    async def run() -> list[tuple]:
        request = SimpleNamespace(session_hash="ann", client=SimpleNamespace(host="10.0.0.1"))
        respond = tab._respond(SimpleNamespace(store=SimpleNamespace(title_of=lambda name: "the model")), None, requests, only_photos)
        return [step async for step in respond(request, payload, "m", active, "a", "b")]

    monkeypatch.setattr(model_picker, "watch", watch)
    return finished(run())


def test_a_request_is_followed_to_its_answer(monkeypatch):
    requests = Requests(Waiting("2 photos before yours"), Answer(("answer", "view", "about", "size")))
    loading, waiting, answer, last = responded(requests, monkeypatch, {"path": "/x.png"})
    assert requests.asked == [("ann", "10.0.0.1", ("/x.png", "m", "the model", "a", "b"))]
    assert loading[0] == "status"
    assert "Loading ViT … Your photo is next." in loading[1]
    assert 'aria-valuenow="50"' in loading[1]
    assert (waiting[0], "2 photos before yours" in waiting[1], "is next" in waiting[1]) == (gr.skip(), True, False)
    assert answer == (gr.skip(), "answer", "view", "about", "size")
    assert last == tab.UNCHANGED
    assert {len(step) for step in (loading, waiting, answer, last)} == {5}


def test_without_a_photo_only_the_status_changes(monkeypatch):
    loading, *_ = responded(Requests(), monkeypatch, None)
    assert loading[:2] == ("status", gr.skip())
    assert responded(Requests(), monkeypatch, None, only_photos=True) == [tab.UNCHANGED]  # Gradio's empty box is no news


def test_a_full_queue_is_said_in_place_of_the_answer(monkeypatch):
    _, refused, last = responded(Requests(UserError("The app is busy.")), monkeypatch, {"path": "/x.png"})
    assert (refused[0], "The app is busy." in refused[1], refused[2]) == (gr.skip(), True, tab.NO_VIEW)
    assert last == tab.UNCHANGED


@pytest.mark.parametrize("name", [None, ["m"], {"m": 1}])
def test_a_model_that_is_no_text_gets_a_sentence(name):
    request = SimpleNamespace(session_hash="ann", client=SimpleNamespace(host="10.0.0.1"), query_params={})
    store = ModelStore(Settings(device="cpu"))
    answers, requests = SimpleNamespace(store=store), Requests()

    async def run(steps) -> list[tuple]:
        return [step async for step in steps]

    respond, welcome = tab._respond(answers, None, requests), tab._welcome(answers, requests)
    for steps in (respond(request, {"path": "/x.png"}, name, "classify", *PLAIN), welcome(request, name)):
        refused, last = finished(run(steps))[-2:]
        assert "Name the model by a text." in refused[1]
        assert last[:5] == tab.UNCHANGED


def test_a_tab_that_is_not_open_answers_nothing(monkeypatch):
    requests = Requests(Answer("x"))
    assert responded(requests, monkeypatch, {"path": "/x.png"}, active="export") == [tab.UNCHANGED]
    assert requests.asked == []
    assert responded(requests, monkeypatch, None, active="export") == [tab.UNCHANGED]
    assert requests.superseded == ["ann"]  # by the photo: no sample comes in its place
