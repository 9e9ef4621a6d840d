"""A photo that a script has uploaded becomes everybody's, and nothing else does."""

from types import SimpleNamespace

import gradio as gr
import pytest

from vitdemo.ui.components.anywhere import given_photo


def test_a_photo_that_a_script_has_uploaded(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for name, said, shown in (("a.png", "<a>.png", "<a>.png"), ("a.png", None, "a.png"), ("drawing.svg", 7, "drawing.svg")):
        (tmp_path / name).touch()
        held = given_photo(SimpleNamespace(_data={"path": str(tmp_path / name), "name": said}))
        assert (held["path"], held["orig_name"]) == (str(tmp_path / name), shown)
    for data in ({"path": "/etc/passwd"}, {"path": None}, {}, None):
        with pytest.raises(gr.Error, match="Send the photo as an uploaded file"):
            given_photo(SimpleNamespace(_data=data))
