"""The named endpoint, called by gradio_client from another process, and what it refuses."""

import json
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.support.apps import ask_by_client
from tests.support.heic import TURNED, drawn
from tests.support.pictures import noise
from tests.support.tiffs import write_grey
from vitdemo.classify.photo import classify
from vitdemo.core.photos.photo import open_photo

CALL = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
try:
    print(json.dumps({"answer": client.predict(handle_file(sys.argv[2]), sys.argv[3], float(sys.argv[4]), api_name="/classify")}))
except Exception as error:
    print(json.dumps({"error": str(error)}))
"""


def call(server, path, model="", top=5) -> dict:
    return ask_by_client(CALL, server, str(path), model, str(top))


def test_classify_answers_as_the_model_does(app, bundle, vit, engine, picture, settings):
    answer = call(app, picture, top=3)["answer"]
    expected = classify(open_photo(picture, settings).image, vit, engine, top=3)
    assert answer["model"] == bundle.name
    assert [each["label"] for each in answer["predictions"]] == [each.label.name for each in expected.predictions]
    assert [each["probability"] for each in answer["predictions"]] == pytest.approx(
        [each.probability for each in expected.predictions], abs=1e-6
    )
    assert answer["seconds"] > 0


def test_a_phones_heic_and_a_scan_in_which_zero_is_white(app, vit, engine, settings, tmp_path):
    scan = write_grey(tmp_path / "scan.tif", np.linspace(0, 4095, 60 * 40).reshape(40, 60).astype(np.uint16), white_is_zero=True)
    for path, image in ((TURNED, drawn()), (scan, Image.fromarray(255 - np.asarray(open_photo(scan, settings).image)))):
        answer = call(app, path, top=8)["answer"]
        found = {each["label"]: each["probability"] for each in answer["predictions"]}
        expected = classify(open_photo(path, settings).image, vit, engine, top=8).predictions
        assert found == pytest.approx({each.label.name: each.probability for each in expected}, abs=1e-6)
        turned = classify(image, vit, engine, top=8).predictions
        near = max(abs(found[each.label.name] - each.probability) for each in turned)
        assert (near < 0.02) == (path == TURNED)  # the drawing itself; the negative is another picture


def test_bad_requests_get_one_sentence(app, picture, tmp_path):
    text = tmp_path / "words.jpg"
    text.write_text("not a photo")
    assert "“words.jpg” is not a photo that can be read here" in call(app, text)["error"]
    assert "choose one from the list" in call(app, picture, model="local-dir:/etc")["error"]
    assert "top must be a whole number from 1 to 1000" in call(app, picture, top=0)["error"]
    assert len(call(app, picture)["answer"]["predictions"]) == 5  # and the app goes on


MANY = """
import json, sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
try:
    photos = [handle_file(path) for path in sys.argv[2:]]
    print(json.dumps({"answer": client.predict(None, "", 2, photos, api_name="/classify")}))
except Exception as error:
    print(json.dumps({"error": str(error)}))
"""


def call_many(server, *paths) -> dict:
    return ask_by_client(MANY, server, *map(str, paths))


def test_many_photos_at_once(app, bundle, vit, engine, tmp_path):
    for number in range(3):
        noise(60, 40, number).save(tmp_path / f"{number}.png")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(tmp_path / "0.png", "sub/again.png")
        archive.writestr("sub/bad.jpg", b"no photo")
        archive.writestr("sub/notes.txt", b"Hello")
    answer = call_many(app, tmp_path / "2.png", tmp_path / "1.png", tmp_path / "more.zip")["answer"]
    assert answer["model"] == bundle.name
    assert answer["notes"] == ["1 file that is no photo is left out (1 .txt)."]
    assert [row["photo"] for row in answer["rows"]] == ["1.png", "2.png", "more.zip/sub/again.png", "more.zip/sub/bad.jpg"]
    assert answer["rows"][3]["error"].startswith("“bad.jpg” is not a photo")
    for row, name in zip(answer["rows"], ("1.png", "2.png", "0.png"), strict=False):
        expected = classify(Image.open(tmp_path / name).convert("RGB"), vit, engine, top=2).predictions
        assert [each["label"] for each in row["predictions"]] == [each.label.name for each in expected]
        assert [each["probability"] for each in row["predictions"]] == pytest.approx([each.probability for each in expected], abs=1e-5)


def test_a_gallery_that_can_not_be_read_gets_one_sentence(app, tmp_path):
    (tmp_path / "no.zip").write_bytes(b"no zip")
    assert call_many(app, tmp_path / "no.zip") == {"error": "“no.zip” is damaged or no zip: make it again."}


def test_only_the_named_endpoint_is_offered(app):
    with urllib.request.urlopen(f"{app.url}/gradio_api/info", timeout=30) as answer:
        assert list(json.load(answer)["named_endpoints"]) == ["/classify", "/attention", "/embed", "/finetune", "/export"]


def post(server, path: str, body: bytes, kind: str) -> tuple[int, str]:
    request = urllib.request.Request(f"{server.url}{path}", body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("path", ["/etc/hostname", "app.py", "https://example.org/x.png", "data:image/png;base64,AAAA"])
@pytest.mark.parametrize("meta", [True, False])
def test_a_forged_file_is_refused(app, path, meta):
    forged = {"path": path} | ({"meta": {"_type": "gradio.FileData"}} if meta else {})
    status, text = post(app, "/gradio_api/call/classify", json.dumps({"data": [forged, "", 5]}).encode(), "application/json")
    if status == 200:
        with urllib.request.urlopen(f"{app.url}/gradio_api/call/classify/{json.loads(text)['event_id']}", timeout=60) as stream:
            events = stream.read().decode()
        assert "event: error" in events
        assert "predictions" not in events


@pytest.mark.app
def test_a_file_over_the_limit_is_refused_while_it_arrives(start_app, bundle):
    server = start_app("--model", f"local-dir:{bundle}", "--max-upload-mb", "1", "--max-zip-mb", "1")
    edge = "vitdemo"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="big.png"\r\nContent-Type: image/png\r\n\r\n'
    status, _ = post(
        server,
        "/gradio_api/upload",
        head.encode() + bytes(3_000_000) + f"\r\n--{edge}--\r\n".encode(),
        f"multipart/form-data; boundary={edge}",
    )
    assert status == 413
    server.stop()


@pytest.mark.app
def test_the_private_folder_goes_when_the_app_stops(start_app, bundle, picture, tmp_path):
    server = start_app("--model", f"local-dir:{bundle}", TMPDIR=str(tmp_path))
    call(server, picture)
    assert any(tmp_path.glob("vitdemo-*/**/*.png"))
    assert server.stop() == 0
    assert list(tmp_path.glob("vitdemo-*")) == []
