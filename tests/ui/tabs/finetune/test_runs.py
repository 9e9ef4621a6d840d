"""The runs of a session: which one is at work, and what becomes of one that is removed."""

from dataclasses import dataclass

import pytest

from vitdemo.core.errors import UserError
from vitdemo.core.names import check_name
from vitdemo.ui.tabs.finetune.runs import remove, run_rows
from vitdemo.ui.tabs.finetune.session import FinetuneSession


@dataclass
class Job:
    over: bool = False


@pytest.fixture
def session(tmp_path, monkeypatch) -> FinetuneSession:
    monkeypatch.setattr("vitdemo.ui.tabs.finetune.session.get_upload_folder", lambda: str(tmp_path))
    made = FinetuneSession(tmp_path / "abcd", [])
    for request in ("first", "second"):
        made.shown = made.run_for(request)
        made.shown.folder.mkdir(parents=True)
    return made


def test_an_earlier_run_that_goes_on_is_the_one_at_work(session):
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


def test_a_new_run_takes_no_removed_ones_folder(session):
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
