"""Which values of a page's are taken for an uploaded file."""

import pytest

from vitdemo.ui.server.upload import is_file_in


@pytest.fixture
def folder(tmp_path):
    uploads = tmp_path / "uploads"
    (uploads / "a").mkdir(parents=True)
    (uploads / "out").symlink_to(tmp_path)
    (tmp_path / "in").symlink_to(uploads)
    return uploads


@pytest.mark.parametrize("name", ["a/photo.png", "b/../a/photo.png", "../uploads/a", "../in/a/photo.png", "", "out/uploads/a"])
def test_what_lies_in_the_folder(folder, name):
    assert is_file_in(f"{folder}/{name}", str(folder))


@pytest.mark.parametrize("name", ["..", "../secret", "out/secret", "a/../../secret", "../uploads2/a", "a\0b", "\ud800"])
def test_what_leads_out_of_it(folder, name):
    assert not is_file_in(f"{folder}/{name}", str(folder))


@pytest.mark.parametrize("value", [None, 1, [], {"path": "a"}, "https://example.com/a.png", "/etc/passwd"])
def test_what_is_no_path_there(folder, value):
    assert not is_file_in(value, str(folder))


def test_gradio_judges_alike(folder):
    from gradio.utils import is_in_or_equal

    for name in ("a/photo.png", "../secret", "out/secret", "..", "", "out/uploads/a", "../in/a"):
        path = f"{folder}/{name}"
        assert is_file_in(path, str(folder)) == is_in_or_equal(path, str(folder)), name
