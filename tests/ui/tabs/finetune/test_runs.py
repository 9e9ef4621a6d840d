"""The runs of a session: the same request goes on in its run, another makes another; they are named, compared and removed."""

import json
from dataclasses import dataclass

import pytest

from vitdemo.core.errors import UserError
from vitdemo.core.names import check_name
from vitdemo.ui.tabs.finetune.runs import compared, remove, run_of, run_rows
from vitdemo.ui.tabs.finetune.session import MAX_RUNS, FinetuneSession


@pytest.fixture
def session(tmp_path) -> FinetuneSession:
    return FinetuneSession(tmp_path / "abcdefgh", [])


def ended(run, answers: str) -> None:
    """Write a report in which the photos a, b, … are taken right (1) or wrong (0)."""
    run.folder.mkdir(parents=True)
    photos = [
        {"photo": "abcdefghijkl"[place], "label": "cat", "taken": "cat" if right == "1" else "dog"} for place, right in enumerate(answers)
    ]
    (run.folder / "report.json").write_text(json.dumps({"photos": photos, "accuracy": 0.5, "of": len(photos)}))


def test_a_request_has_one_run(session):
    first, second = session.run_for("a"), session.run_for("b")
    assert session.run_for("a") is first
    assert [run.title for run in session.runs] == ["Run 1", "Run 2"]
    assert first.folder != second.folder
    remove(session, second)
    third = session.run_for("c")
    assert third.folder.name.endswith("-3")
    for number in range(MAX_RUNS - 2):
        session.run_for(str(number))
    with pytest.raises(UserError, match="remove one, then start again"):
        session.run_for("one more")
    with pytest.raises(UserError, match="not here any more"):
        session.run("../" + first.folder.name)


def test_rows_and_removal(session):
    with pytest.raises(UserError, match="There is no model yet"):
        run_of(session)
    first, second = session.run_for("a"), session.run_for("b")
    session.shown = second
    first.asked = {"preset": "quick", "recipe": {"label_smoothing": "0.2"}}
    ended(first, "110")
    newest, oldest = run_rows(session)
    assert (newest["shown"], newest["report"], newest["asked"]) == (True, None, "")
    assert (oldest["shown"], oldest["asked"]) == (False, "Head only (fast), label smoothing 0.2")
    assert oldest["report"]["accuracy"] == 0.5
    remove(session, second)
    assert session.shown is first
    remove(session, first)
    assert session.shown is None
    assert not first.folder.exists()


@pytest.mark.parametrize(
    ("preset", "recipe", "said"),
    [
        ("quick", {}, "Head only (fast)"),
        (
            "quick",
            {"refuse": "1", "balance": "0", "features": "both"},
            "Head only (fast), head reads both, balance classes off, refuse the unfamiliar on",
        ),
        ("quick", {"unfreeze": "2", "lr": "5e-5"}, "Last 2 blocks, learning rate of the blocks 5e-05"),
        ("quick", {"unfreeze": "1", "epochs": "2"}, "Last block, epochs of the blocks 2"),
        ("careful", {"unfreeze": "all", "seed": "3"}, "All blocks, averaged weights (decay) 0.99, seed 3"),
        (
            "everything",
            {"unfreeze": "head", "augment": "light", "views": "0"},
            "Head only, epochs of the blocks 30, averaged weights (decay) 0.998, patience 10",
        ),
    ],
)
def test_a_run_is_called_by_what_learned_in_it(session, preset, recipe, said):
    session.run_for("a").asked = {"preset": preset, "recipe": recipe}
    assert run_rows(session)[0]["asked"] == said


def test_two_runs_are_compared_on_the_same_photos(session):
    one, other = session.run_for("a"), session.run_for("b")
    ended(one, "111111110011")
    with pytest.raises(UserError, match="“Run 2” has no result yet"):
        compared(one, other)
    ended(other, "000000001111")
    said = compared(one, other)
    assert said == "On the same 12 photos, only Run 1 is right on 8 and only Run 2 on 2: that is no difference that counts (p = 0.11)."
    (other.folder / "report.json").write_text(json.dumps({"photos": [{"photo": "z", "label": "cat", "taken": "cat"}]}))
    with pytest.raises(UserError, match="different photos"):
        compared(one, other)


@dataclass
class Job:
    over: bool = False


@pytest.fixture
def two(tmp_path, monkeypatch) -> FinetuneSession:
    monkeypatch.setattr("vitdemo.ui.tabs.finetune.session.get_upload_folder", lambda: str(tmp_path))
    made = FinetuneSession(tmp_path / "abcd", [])
    for request in ("first", "second"):
        made.shown = made.run_for(request)
        made.shown.folder.mkdir(parents=True)
    return made


def test_an_earlier_run_that_goes_on_is_the_one_at_work(two):
    session = two
    first, second = session.runs
    session.trained, session.job = session.run_for("first"), Job()
    assert {row["title"]: row["running"] for row in run_rows(session)} == {"Run 1": True, "Run 2": False}
    with pytest.raises(UserError, match="stop it first"):
        remove(session, first)
    remove(session, second)
    assert session.runs == [first]
    assert (first.folder.is_dir(), second.folder.is_dir()) == (True, False)
    session.job.over = True
    remove(session, first)
    assert (session.runs, session.shown) == ([], None)


def test_a_new_run_takes_no_removed_ones_folder(two):
    session = two
    removed = session.runs[-1]
    remove(session, removed)
    new = session.run_for("third")
    assert (new.title, new.folder.name[-2:]) == ("Run 3", "-3")
    assert new.folder != removed.folder


@pytest.mark.parametrize(
    ("name", "said"),
    [(" ", "Give the run a name first"), ("a\nb", "A run name must be one line"), ("\ud800", "A run name must be one line")],
)
def test_what_is_no_name_of_a_run(name, said):
    with pytest.raises(UserError, match=said):
        check_name(name, "run")
