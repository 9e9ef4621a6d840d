"""The comparison of methods behind the page: on the session's photo, on files with masks, stopped, and what is no upload."""

import zipfile
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import noise
from tests.support.waiting import until
from vitdemo.attention.evaluation.compare import NAMED
from vitdemo.attention.methods.ablation import without_heads
from vitdemo.attention.methods.faithfulness import erase_curve
from vitdemo.attention.question import Question, heat
from vitdemo.ui.server.upload import Upload
from vitdemo.ui.tabs.attention import compare


@pytest.fixture(autouse=True)
def uploads(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "get_upload_folder", lambda: str(tmp_path))
    return tmp_path


@pytest.fixture
def ended(ask):
    """Waits for the comparison and gives its status."""

    def ended() -> dict:
        until(lambda: ask("compared")["over"], 120)
        return ask("compared")

    return ended


def test_one_photo(ask, session, sessions, engine, ended):
    vit = sessions.store.loading.vit
    assert ask("compare", target=2) == {}
    status = ended()
    assert (status["error"], status["text"], status["done"]) == ("", "", 1)
    rows = {row["name"]: row for row in status["rows"]}
    assert list(rows) == list(compare.NAMES.values())
    assert [column["key"] for column in status["columns"]] == ["deletion", "insertion", "saco"]
    trace = sessions.trace(session, vit)
    curve = erase_curve(vit, engine, session.tensor, heat(Question("votes", target=2), trace, vit, engine, session.tensor), 2)
    assert rows["Patch votes"]["cells"]["deletion"]["value"] == pytest.approx(curve.deletion_area, abs=1e-6)
    assert all(row["heat"] for row in rows.values())
    assert [name for name, row in rows.items() if row["signed"]] == ["Patch votes", "FullGrad+"]
    assert len(status["details"]) == len(NAMED)
    assert any("on this photo" in sentence for sentence in status["sentences"])
    job = session.comparing
    ask("compare", target=2)
    assert session.comparing is job  # kept
    ask("compare", target=3)
    assert session.comparing is not job
    ended()
    ask("compare", target=2)
    assert session.comparing is job
    assert ended()["text"] == ""  # it was over, and never stopped
    ask("compared", stop=True)
    assert ended()["text"] == ""


def test_heads_that_are_off_are_off_in_the_comparison(session, sessions, engine):
    other = session.without([(2, 1)])
    compare.compare(sessions, other, 2, (), "")
    until(lambda: compare.compared(sessions, other, stop=False).over, 120)
    status = compare.compared(sessions, other, stop=False)
    vit = without_heads(sessions.store.loading.vit, [(2, 1)])
    trace = sessions.trace(other, vit)
    curve = erase_curve(vit, engine, session.tensor, heat(Question("rollout"), trace, vit, engine, session.tensor), 2)
    value = next(row for row in status.rows if row["name"] == "Rollout")["cells"]["deletion"]["value"]
    assert value == pytest.approx(curve.deletion_area, abs=1e-6)
    assert status.how.startswith(f"On one photo, for {vit.labels[2].name}: ")


def test_one_photo_that_was_given(ask, uploads, ended):
    noise(60, 50, 3).save(uploads / "a.png")
    ask("compare", files=[{"name": "a.png", "path": str(uploads / "a.png")}])
    assert ended()["how"].startswith("On one photo: beyond chance")


def test_asked_again_while_it_runs_and_stopped_while_it_waits(ask, session, sessions, ended):
    with sessions.comparisons.slot(1), sessions.comparisons.slot(2):
        ask("compare", target=1)
        job = session.comparing
        ask("compare", target=1)
        assert session.comparing is job
        assert not job.stopping.is_set()
        assert ask("compared")["text"] == "Waiting for another comparison …"
        later = session.without([(1, 0)])
        compare.compare(sessions, later, 1, (), "")
        until(lambda: compare.compared(sessions, later, stop=False).text == "Waiting for 2 other comparisons …")
        compare.compared(sessions, later, stop=True)
        ask("compared", stop=True)
        status = ended()  # though no slot has become free
        assert (status["error"], status["rows"]) == ("", [])
        ask("compare", target=1)
        assert session.comparing is not job
    assert ended()["rows"]


def test_photos_with_masks_in_a_zip(ask, session, sessions, uploads, ended):
    with zipfile.ZipFile(uploads / "pets.zip", "w") as archive:
        for number in range(3):
            noise(60, 50, number).save(uploads / f"{number}.png")
            archive.write(uploads / f"{number}.png", f"images/{number}.png")
        mask = np.zeros((50, 60), np.uint8)
        mask[10:40, 10:50] = 255
        Image.fromarray(mask).save(uploads / "mask.png")
        archive.write(uploads / "mask.png", "masks/0.png")
        archive.writestr("images/broken.png", b"\x89PNG\r\n\x1a\n no photo")
    ask("compare", files=[{"name": "pets.zip", "path": str(uploads / "pets.zip")}])
    status = ended()
    found = compare.whole(sessions, sessions.store.loading.vit, Upload(uploads / "pets.zip", "pets.zip"), "")  # as programs ask
    assert found["notes"] == ["1 of 4 photos can't be read, or their masks can't: left out."]
    for row in status["rows"]:
        method = next(key for key, name in compare.NAMES.items() if name == row["name"])
        values = {metric: cell["value"] for metric, cell in found["rows"][method].items()}
        assert {metric: cell["value"] for metric, cell in row["cells"].items()} == pytest.approx(
            {metric: values[metric] for metric in row["cells"]}, abs=1e-6
        )
    assert status["error"] == ""
    keys = [column["key"] for column in status["columns"]]
    assert keys[:6] == ["deletion", "insertion", "saco", "hit", "auc", "iou"]
    assert status["how"].startswith("On 3 photos, 3 of them erased")
    assert "1 of 4 photos can't be read" in status["how"]
    assert not any(row["heat"] for row in status["rows"])
    low, value, high = (status["rows"][0]["cells"]["deletion"][key] for key in ("low", "value", "high"))
    assert low <= value <= high


def test_stop_and_what_is_no_upload(ask, session, uploads, tmp_path_factory, ended):
    outside = tmp_path_factory.mktemp("outside") / "a.png"
    noise(60, 50).save(outside)
    for files in ([{"name": "a.png", "path": str(outside)}], [str(outside)], [{"path": 3}], [None]):
        assert ask("compare", files=files)["error"] == "Send the photos as uploaded files."
    (uploads / "broken.png").write_bytes(b"no photo")
    ask("compare", files=[{"name": "broken.png", "path": str(uploads / "broken.png")}])
    assert ended()["error"] == "None of these photos can be read: give others."
    noise(60, 50).save(uploads / "a.png")
    ask("compare", files=[{"name": "a.png", "path": str(uploads / "a.png")}] * 40)
    until(lambda: ask("compared")["rows"] or ask("compared")["over"], 60)
    ask("compared", stop=True)
    status = ended()
    assert status["text"] == compare.STOPPED
    assert status["rows"]
    assert ask("compared", session=session.id)["over"]
    assert partial(ask, session="unknown")("compared")["error"].startswith("This photo is not here any more")


def test_masks_belong_to_the_photo_of_their_folder():
    names = ["images/a/1.jpg", "images/b/1.jpg", "masks/a/1.png", "1.jpg", "masks/1.png"]
    items = [SimpleNamespace(name=name) for name in names]
    assert [compare._name_of(item) for item in items] == [("a", "1"), ("b", "1"), ("a", "1"), ("1",), ("1",)]
