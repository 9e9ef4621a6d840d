"""What file pickers offer: every suffix that the app reads."""

import re

import pytest

from vitdemo.core.photos.decoding.formats import SUFFIXES
from vitdemo.ui.templating import STATIC

KNOWN = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".avif"}  # what browsers take for image/* everywhere


@pytest.mark.parametrize("name", ["components/gallery_upload.html", "attention/stage.html", "export/export.html"])
def test_pickers_offer_all_that_is_read(name):
    lists = [set(text.split(",")) for text in re.findall(r'accept="([^"]+)"', (STATIC / name).read_text("utf-8"))]
    assert lists
    assert all(accepted - {".zip"} == {"image/*"} | set(SUFFIXES) - KNOWN for accepted in lists)
