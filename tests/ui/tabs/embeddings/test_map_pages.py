"""Pages with maps that the operator keeps: a visitor opens them by their numbers. See also tests/embeddings/test_map_command.py."""

import pytest

from vitdemo.core.errors import UserError
from vitdemo.ui.tabs.embeddings import map_pages


@pytest.fixture
def folder(tmp_path):
    """Two pages, and what is none."""
    for name in ("b.html", "a.html", "secret.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_pages_are_numbered_by_their_names(folder):
    assert [path.name for path in map_pages.kept_pages(folder)] == ["a.html", "b.html"]
    assert [map_pages.kept(folder, number) for number in (0, 1)] == ["a.html", "b.html"]
    assert map_pages.kept_pages(None) == []


@pytest.mark.parametrize("number", [-1, 2])
def test_other_numbers_name_no_file(folder, number):
    with pytest.raises(UserError, match="There is no such map here"):
        map_pages.kept(folder, number)
    with pytest.raises(UserError, match="There is no such map here"):
        map_pages.kept(None, 0)


def test_a_page_that_is_gone_or_too_large(folder, monkeypatch):
    (folder / "a.html").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="can't be read any more"):
        map_pages.kept(folder, 0)
    monkeypatch.setattr(map_pages, "MAX_PAGE_BYTES", 6)
    assert map_pages.kept(folder, 1) == "b.html"
    monkeypatch.setattr(map_pages, "MAX_PAGE_BYTES", 5)
    with pytest.raises(UserError, match="has more than 0 MB"):
        map_pages.kept(folder, 1)
