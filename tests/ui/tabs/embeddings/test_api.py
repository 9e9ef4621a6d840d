"""The endpoint /embed, called by gradio_client from another process, and what it refuses."""

import json

import numpy as np
import pytest

from tests.support.apps import ask_by_client
from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.photos.search import find_items
from vitdemo.embeddings.maps.atlas import MapOptions, draw
from vitdemo.embeddings.vectors.gallery import EmbeddingGallery

CALL = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
answers = []
for asked in json.loads(sys.argv[3]):
    try:
        answer, file = client.predict([handle_file(path) for path in json.loads(sys.argv[2])], api_name="/embed", **asked)
        answers.append({"answer": answer, "file": file})
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(4):
        noise(12, 9, number).resize((120, 90)).save(folder / f"{number}.png")
    for name in "abcd":
        (folder / f"0{name}.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "broken.png").write_bytes(b"no photo")
    return [str(path) for path in sorted(folder.iterdir())]


def test_rows_maps_and_files(app, vit, engine, photos, tmp_path):
    embedding = EmbeddingGallery(find_items(photos), vit, engine, Settings(cache_dir=tmp_path))
    for _ in embedding.work():
        pass
    plain, mean = ask_by_client(
        CALL, app, json.dumps(photos), json.dumps([{}, {"layer": "2", "pool": "mean", "dimensions": 3, "file": "npz"}])
    )
    for told, layer, pool, dimensions in ((plain, "final", "cls", 2), (mean, 2, "mean", 3)):
        answer, vectors = told["answer"], embedding.vectors(layer, pool)
        assert (answer["model"], answer["layer"], answer["pool"]) == (vit.name, layer, pool)
        *good, bad = answer["rows"]
        assert [row["photo"] for row in good] == ["0.png", "0a.png", "0b.png", "0c.png", "0d.png", "1.png", "2.png", "3.png"]
        assert bad["photo"] == "broken.png"
        assert bad["error"].startswith("“broken.png” is not a photo")
        expected = draw(vectors, MapOptions(dimensions))
        np.testing.assert_allclose([row["position"] for row in good], expected.positions, atol=1e-4)
        assert [row["cluster"] for row in good] == [0] * 5 + [-1] * 3  # five equal photos are a cluster
        assert [row["probability"] for row in good] == pytest.approx([row.predictions[0].probability for row in embedding.done], abs=1e-5)
    assert plain["file"] is None
    with np.load(mean["file"]) as arrays:
        np.testing.assert_allclose(arrays["embeddings"], embedding.vectors(2, "mean"), atol=1e-4)
        assert arrays["map"].shape == (8, 3)


def test_what_is_refused_is_said(app, photos):
    asked = [
        {"layer": "13"},
        {"pool": "max"},
        {"dimensions": 5},
        {"metric": "far"},
        {"file": "exe"},
        {"file": ["npz"]},
        {"model": "/etc/passwd"},
    ]
    said = [each["error"] for each in ask_by_client(CALL, app, json.dumps(photos[:1]), json.dumps(asked))]
    for each, words in zip(
        said, ("layer from 1 to 3", "cls or mean", "2 or 3", "cosine", "file must be", "file must be", "no model of that name"), strict=True
    ):
        assert words in each
    (none,) = ask_by_client(CALL, app, "[]", "[{}]")
    assert none["error"].endswith("There are no photos: send some.")
