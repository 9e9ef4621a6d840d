"""The endpoint /export, called by gradio_client from another process: what comes back runs elsewhere; what it refuses."""

import json
import zipfile

import numpy as np
import onnxruntime
import pytest
import torch

from tests.support.apps import ask_by_client
from tests.support.pictures import noise

CALL = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
answers = []
for asked in json.loads(sys.argv[2]):
    for kind in ("photos", "calibration"):
        if kind in asked:
            asked[kind] = [handle_file(path) for path in asked[kind]]
    try:
        answers.append(client.predict(api_name="/export", **asked))
    except Exception as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> str:
    """A zip of six photos in folders named for two classes of the small ViT."""
    folder = tmp_path_factory.mktemp("zips")
    with zipfile.ZipFile(folder / "photos.zip", "w") as packed:
        for number in range(6):
            path = folder / f"{number}.png"
            noise(80, 60, number).save(path)
            packed.write(path, f"{('cat', 'boat')[number % 2]}/{number}.png")
    (folder / "bad.png").write_bytes(b"no photo")
    return str(folder / "photos.zip")


@pytest.mark.app
def test_a_bundle_comes_back_and_what_is_wrong_is_said(app, vit, archive, tmp_path):
    bad = archive.replace("photos.zip", "bad.png")
    calls = [
        {"photos": [archive], "settings": {"baked": True, "extras": ["features"], "kits": ["fastapi"]}},
        {"format": "caffe"},
        {"format": "pt2", "precision": "int8"},
        {"settings": {"kits": ["torchserve"]}},
        {"settings": {"extras": "features"}},
        {"model": "none"},
        {"photos": [bad]},
    ]
    answered, *refused = ask_by_client(CALL, app, json.dumps(calls))
    assert isinstance(answered, list), answered
    report, file = answered
    assert report["rows"][0]["agreement"]["agreement"] == 1
    assert (report["rows"][0]["agreement"]["photos"], report["rows"][0]["agreement"]["labelled"]) == (6, 6)
    with zipfile.ZipFile(file) as packed:
        packed.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert (folder / "Dockerfile").is_file()
    run = onnxruntime.InferenceSession(folder / "model.onnx")
    photo = noise(320, 240)
    found = run.run(["logits"], {"image": np.asarray(vit.preprocessing.crop(photo))[None]})[0]
    with torch.inference_mode():
        expected = vit.module(vit.preprocessing(photo)[None]).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    words = (
        "There is no format “caffe”",
        "int8 is made for ONNX",
        "torchserve serves torchscript",
        "as words",
        "no model of that name",
        "is not a photo",
    )
    for answer, said in zip(refused, words, strict=True):
        assert said in answer["error"]
        assert "/tmp" not in answer["error"]
