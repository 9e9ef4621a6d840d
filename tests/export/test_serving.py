"""What serves a bundle, tried with the real thing where it can run: the server as a process, Triton's own schema, TorchServe on Java."""

import ast
import http.client
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.apps import ROOT, free_port
from tests.support.heic import TURNED
from tests.support.pictures import noise
from tests.support.small_vits import small_vit
from tests.support.tiffs import write_grey
from vitdemo.core.config import Settings
from vitdemo.core.photos.photo import open_photo
from vitdemo.core.photos.search import find_items
from vitdemo.export import serving
from vitdemo.export.bundle import export
from vitdemo.export.plan import Plan
from vitdemo.export.report import TEMPLATES


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        noise(90 + 7 * number, 60 + 5 * number, number).save(folder / f"{number}.jpg", quality=95)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def served(vit, engine, photos, tmp_path_factory) -> Path:
    """A bundle with all kits that serve ONNX."""
    from vitdemo.core.config import Settings

    output = tmp_path_factory.mktemp("served") / "bundle"
    list(export(vit, engine, Plan("onnx", kits=("fastapi", "triton", "kserve")), output, Settings(), photos=find_items(photos)))
    return output


@contextmanager
def running(bundle: Path, **environ: str):
    """The bundle's server, in a process of its own → its port."""
    port = free_port()
    log = bundle.parent / f"server-{port}.log"
    command = [sys.executable, "-m", "uvicorn", "server:app", "--port", str(port), "--log-level", "warning"]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=bundle, env=os.environ | environ, stdout=file, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)  # between two looks
        yield port
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def port(served):
    with running(served, MAX_MB="1", MAX_FILES="4") as port:
        yield port


def ask(port: int, path: str, files: list[tuple[str, bytes]] | None = None) -> tuple[int, dict | list | str]:
    """Status and answer of a GET, or of a POST of files."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    if files is None:
        connection.request("GET", path)
    else:
        mark = uuid.uuid4().hex
        parts = [
            f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n"
            for name, data in files
        ]
        body = b"".join(parts) + f"--{mark}--\r\n".encode()
        connection.request("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, json.loads(text) if answer.headers.get_content_type() == "application/json" else text


def expected(vit, path: Path) -> np.ndarray:
    """Probabilities by the app's own preprocessing and the original model."""
    import torch
    from PIL import Image

    with Image.open(path) as photo, torch.inference_mode():
        return vit.module(vit.preprocessing(photo.convert("RGB"))[None])[0].softmax(-1).numpy()


@pytest.mark.slow
class TestServer:
    def test_it_lives_and_knows_its_answer(self, port):
        assert ask(port, "/health") == (200, {"status": "alive"})
        assert ask(port, "/ready") == (200, {"status": "ready"})

    def test_the_originals_probabilities_to_many_clients(self, port, vit, photos):
        def client(path: Path) -> None:
            status, rows = ask(port, "/predict?top=8", [(path.name, path.read_bytes())])
            assert (status, rows[0]["file"], len(rows[0]["predictions"])) == (200, path.name, 8)
            wanted = expected(vit, path)
            for each in rows[0]["predictions"]:
                assert each["probability"] == pytest.approx(wanted[each["index"]], abs=1e-5)
                assert each["name"] == vit.labels[each["index"]].name
            assert rows[0]["predictions"][0]["index"] == wanted.argmax()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(client, photos * 3))

    def test_a_batch_is_answered_row_by_row(self, port, photos):
        files = [(photos[0].name, photos[0].read_bytes()), ("bad.jpg", b"no photo"), (photos[1].name, photos[1].read_bytes())]
        status, rows = ask(port, "/predict", files)
        assert (status, [row["file"] for row in rows]) == (200, [photos[0].name, "bad.jpg", photos[1].name])
        assert "no photo that can be read" in rows[1]["error"]
        assert rows[0]["predictions"] == ask(port, "/predict", files[:1])[1][0]["predictions"]

    def test_what_the_app_reads(self, port, vit, photos, tmp_path):
        """As the app decodes it: a phone's photo, one that lacks its end mark, a scan in which zero is white, broken metadata."""
        (tmp_path / "endless.jpg").write_bytes(photos[0].read_bytes()[:-2])
        noise(90, 60).save(tmp_path / "text.png")
        png = (tmp_path / "text.png").read_bytes()
        (tmp_path / "text.png").write_bytes(png[:33] + b"\0\0\0\3tEXta\0b" + bytes(4) + png[33:])
        scan = write_grey(tmp_path / "scan.tif", np.linspace(0, 65535, 5400).reshape(60, 90).astype(np.uint16), white_is_zero=True)
        for path in (TURNED, tmp_path / "endless.jpg", tmp_path / "text.png", scan):
            status, rows = ask(port, "/predict?top=8", [(path.name, path.read_bytes())])
            assert status == 200, rows
            wanted = vit.logits(vit.preprocessing(open_photo(path, Settings()).image)[None])[0].softmax(-1).tolist()
            assert {each["index"]: each["probability"] for each in rows[0]["predictions"]} == pytest.approx(
                dict(enumerate(wanted)), abs=1e-5
            )
        status, rows = ask(port, "/predict", [("cut.jpg", photos[0].read_bytes()[:-300])])
        assert (status, "damaged" in rows["detail"][0]["error"]) == (422, True)

    def test_what_it_refuses(self, port, photos):
        photo = (photos[0].name, photos[0].read_bytes())
        assert ask(port, "/predict", [("bad.jpg", b"no photo")])[0] == 422
        assert ask(port, "/predict", [])[0] == 422
        assert ask(port, "/predict?top=0", [photo])[0] == 422
        assert ask(port, "/predict", [photo] * 5)[0] == 400  # MAX_FILES
        assert ask(port, "/predict")[0] == 405
        status, said = ask(port, "/predict", [("large.jpg", bytes(2_000_000))])
        assert (status, said) == (413, {"detail": "A request may have 1 MB: send fewer or smaller photos."})
        assert ask(port, "/predict", [photo])[0] == 200

    def test_it_counts(self, port, photos):
        def count(name: str) -> float:
            found = re.search(rf"^{re.escape(name)} (\S+)$", ask(port, "/metrics")[1], re.MULTILINE)
            return float(found[1]) if found else 0

        names = ('vit_photos_total{outcome="answered"}', 'vit_requests_total{status="200"}', "vit_request_seconds_count")
        before = [count(name) for name in names]
        ask(port, "/predict", [(each.name, each.read_bytes()) for each in photos[:3]])
        assert [count(name) - was for name, was in zip(names, before, strict=True)] == [3, 1, 1]
        assert count("vit_photos_busy") == 0

    def test_a_full_queue_says_so(self, served, photos):
        with running(served, MAX_WAITING="2") as port:
            files = [(each.name, each.read_bytes()) for each in photos[:3]]
            assert ask(port, "/predict", files)[0] == 503
            assert ask(port, "/predict", files[:2])[0] == 200

    def test_another_answer_than_the_known_one(self, served, photos, tmp_path):
        copy = shutil.copytree(served, tmp_path / "copy")
        np.save(copy / "known_answer" / "output.npy", np.load(copy / "known_answer" / "output.npy") + 1)
        with running(copy) as port:
            assert ask(port, "/health")[0] == 200
            status, said = ask(port, "/ready")
            assert status == 503
            assert "the model's known answer is off by 1" in said["detail"]
            assert ask(port, "/predict", [(photos[0].name, photos[0].read_bytes())])[0] == 503

    @pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
    def test_the_readmes_curl_as_it_stands(self, served, port):
        (snippet,) = re.findall(r"```bash\n(.*?)```", (served / "README.md").read_text("utf-8"), re.DOTALL)
        environ = os.environ | {"PORT": str(port), "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(["bash", "-c", snippet], cwd=served, env=environ, capture_output=True, text=True, timeout=60, check=True)
        answer = json.loads((served / "known_answer" / "answer.json").read_text("utf-8"))
        for found, known in zip(json.loads(done.stdout)[0]["predictions"], answer["predictions"], strict=True):
            assert (found["index"], found["name"]) == (known["index"], known["label"])
            assert found["probability"] == pytest.approx(known["probability"], abs=1e-5)


@pytest.mark.slow
def test_the_server_needs_what_its_requirements_say_and_no_torch(served):
    wanted = {"PIL": "pillow", "prometheus_client": "prometheus-client", "pi_heif": "pi-heif"}
    files = {
        path.name: path.read_text("utf-8") for path in (served / "server.py", served / "preprocess.py", *(served / "decoding").glob("*.py"))
    }
    imported = set()
    for text in files.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                imported |= {each.name.split(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    needed = {wanted.get(name, name) for name in imported - sys.stdlib_module_names - {"preprocess", "decoding"}}
    pinned = dict(line.split("==") for line in (served / "requirements.txt").read_text("utf-8").split())
    assert needed | {"uvicorn", "python-multipart"} == pinned.keys()
    assert {name: importlib.metadata.version(name) for name in pinned} == pinned
    assert "torch" not in imported


@pytest.mark.slow
def test_the_image_is_slim_has_its_own_user_and_all_it_copies(served):
    import yaml

    lines = (served / "Dockerfile").read_text("utf-8").splitlines()
    assert re.fullmatch(r"FROM python:3\.\d+-slim", lines[0])
    assert lines.index("USER vit") < next(number for number, line in enumerate(lines) if line.startswith("CMD"))
    copied = [name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]]
    assert "model.onnx" in copied
    assert all((served / name).exists() for name in copied)
    ignored = (served / ".dockerignore").read_text("utf-8").split()
    assert ignored[0] == "*"
    assert {each.removeprefix("!") for each in ignored[1:]} == set(copied)
    service = yaml.safe_load((served / "compose.yaml").read_text("utf-8"))["services"]["vit"]
    assert service["build"] == "."
    assert service["read_only"] is True


@pytest.mark.slow
class TestTriton:
    def config(self, folder: Path):
        pytest.importorskip("tritonclient.grpc")
        from google.protobuf import text_format
        from tritonclient.grpc import model_config_pb2

        text = (folder / "triton" / "vit" / "config.pbtxt").read_text("utf-8")
        return text_format.Parse(text, model_config_pb2.ModelConfig())

    def test_its_own_schema_reads_the_repository(self, served, vit):
        import onnx

        config = self.config(served)
        assert (config.name, config.backend, config.max_batch_size) == ("vit", "onnxruntime", 32)
        assert config.HasField("dynamic_batching")
        assert (config.input[0].name, list(config.input[0].dims)) == ("image", [3, *vit.preprocessing.size])
        assert (config.output[0].name, list(config.output[0].dims)) == ("logits", [8])
        place = served / "triton" / "vit"
        assert (place / "1" / "model.onnx").read_bytes() == (served / "model.onnx").read_bytes()
        labels = (place / config.output[0].label_filename).read_text("utf-8").splitlines()
        assert labels == [each.name for each in vit.labels]
        graph = onnx.load(place / "1" / "model.onnx").graph  # the dims are the graph's, without its batch
        assert [each.dim_value for each in graph.input[0].type.tensor_type.shape.dim][1:] == list(config.input[0].dims)

    def test_further_outputs_have_the_shapes_the_model_gives(self, tmp_path):
        from vitdemo.export import formats, runtimes

        vit = replace(small_vit("registers"), preprocessing=replace(small_vit().preprocessing, size=(70, 70)))
        plan = Plan("onnx", baked=True, extras=("features", "attention"), kits=("triton",))
        path, names = formats.write(vit, plan, tmp_path), formats.output_names(vit.labels, plan)
        serving.write(plan, vit, names, tmp_path)
        config = self.config(tmp_path)
        batch = np.zeros((2, *config.input[0].dims), np.uint8)
        found = runtimes.open_onnx(path)(batch)
        assert {each.name: (2, *each.dims) for each in config.output} == {name: each.shape for name, each in found.items()}
        assert config.input[0].data_type == 2  # TYPE_UINT8


@pytest.mark.slow
def test_kserves_manifest(served):
    import yaml

    manifest = yaml.safe_load((served / "kserve.yaml").read_text("utf-8"))
    assert (manifest["apiVersion"], manifest["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    model = manifest["spec"]["predictor"]["model"]
    assert (model["modelFormat"], model["protocolVersion"]) == ({"name": "onnx"}, "v2")


@pytest.fixture(scope="module")
def archive(vit, engine, photos, tmp_path_factory) -> Path:
    """A bundle with TorchServe's archive."""
    from vitdemo.core.config import Settings

    pytest.importorskip("model_archiver")
    output = tmp_path_factory.mktemp("torchserve") / "bundle"
    list(export(vit, engine, Plan("torchscript", kits=("torchserve",)), output, Settings(), photos=find_items(photos)))
    return output


@pytest.mark.slow
class TestTorchServe:
    def test_the_archive_holds_what_the_handler_needs(self, archive):
        with zipfile.ZipFile(archive / "torchserve" / "vit.mar") as file:
            names = set(file.namelist())
            manifest = json.loads(file.read("MAR-INF/MANIFEST.json"))
        assert {"model.pt", "handler.py", "labels.json", "preprocessing.json", "preprocess.py", "decoding/decode.py"} <= names
        assert manifest["model"]["serializedFile"] == "model.pt"
        assert "no security patches" in (archive / "README.md").read_text("utf-8")

    def test_the_handler_answers_photo_by_photo(self, archive, vit, photos, tmp_path):
        """As TorchServe calls it, in a process of its own."""
        with zipfile.ZipFile(archive / "torchserve" / "vit.mar") as file:
            file.extractall(tmp_path)
        script = (
            "import json, sys; from types import SimpleNamespace; import handler;"
            "context = SimpleNamespace(system_properties={'model_dir': '.'}, manifest={'model': {'serializedFile': 'model.pt'}});"
            "assert handler.handle(None, context) is None;"
            "data = [{'data': open(sys.argv[1], 'rb').read()}, {'body': b'no photo'}];"
            "print(json.dumps(handler.handle(data, context)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(photos[0])], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        good, bad = json.loads(done.stdout.splitlines()[-1])
        wanted = expected(vit, photos[0])
        assert [each["index"] for each in good["predictions"]] == list(np.argsort(-wanted)[:5])
        assert good["predictions"][0]["probability"] == pytest.approx(wanted.max(), abs=1e-5)
        assert "no photo" in bad["error"]

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("java") is None, reason="TorchServe needs Java")
    def test_the_real_torchserve(self, archive, vit, photos, tmp_path):
        pytest.importorskip("ts")
        place = shutil.copytree(archive / "torchserve", tmp_path / "store")
        text = (place / "ts.properties").read_text("utf-8")
        ports = {old: free_port() for old in ("8080", "8081", "8082")}
        for old, new in ports.items():
            text = text.replace(old, str(new))
        (place / "ts.properties").write_text(text + f"grpc_inference_port={free_port()}\ngrpc_management_port={free_port()}\n", "utf-8")
        environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LOG_LOCATION": str(tmp_path)}
        command = [Path(sys.executable).with_name("torchserve"), "--start", "--foreground", "--ncs", "--ts-config", "ts.properties"]
        with (tmp_path / "log.txt").open("w") as log:
            process = subprocess.Popen(
                [*command, "--model-store", "."], cwd=place, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            address = f"http://127.0.0.1:{ports['8080']}/predictions/vit"
            request = urllib.request.Request(address, photos[0].read_bytes(), {"Content-Type": "image/jpeg"})
            deadline = time.monotonic() + 180
            while True:  # /ping is healthy before the worker is
                try:
                    with urllib.request.urlopen(request, timeout=60) as response:
                        answer = json.load(response)
                    break
                except (urllib.error.URLError, ConnectionError):
                    assert process.poll() is None, (tmp_path / "log.txt").read_text()
                    assert time.monotonic() < deadline, (tmp_path / "log.txt").read_text()
                    time.sleep(1)  # between two looks
            wanted = expected(vit, photos[0])
            assert answer["predictions"][0]["index"] == wanted.argmax()
            assert answer["predictions"][0]["probability"] == pytest.approx(wanted.max(), abs=1e-5)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


def test_without_the_archiver(monkeypatch):
    from vitdemo.core.errors import UserError

    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="pip install torch-model-archiver"):
        serving.check(Plan("torchscript", kits=("torchserve",)))
    serving.check(Plan("onnx", kits=("fastapi",)))


@pytest.mark.slow
def test_openvino_reads_the_graph(served, vit):
    openvino = pytest.importorskip("openvino")
    batch = np.load(served / "known_answer" / "input.npy")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # on some processors it takes bf16 by itself
    found = openvino.Core().compile_model(served / "model.onnx", "CPU", exact)({"image": np.concatenate([batch] * 3)})["logits"]
    np.testing.assert_allclose(found[2:], np.load(served / "known_answer" / "output.npy"), atol=1e-3)


def test_templates_are_all_in_use():
    files = {path.relative_to(TEMPLATES).name for path in TEMPLATES.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    text = "".join(path.read_text("utf-8") for path in (ROOT / "vitdemo" / "export").glob("*.py"))
    assert [name for name in files if name not in text and f".{name}" not in text] == []


# What is written, without a server


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with what a bundle has before its kits."""
    for name in ("model.onnx", "model.pt"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "decoding").mkdir()
    (tmp_path / "decoding" / "decode.py").write_text("# decodes")
    return tmp_path


def test_the_kits_files_are_the_templates(place, vit):
    serving.write(Plan("onnx", kits=("fastapi", "ray")), vit, ("logits",), place)
    for folder, names in (("fastapi", serving.FASTAPI), ("rayserve", serving.RAY)):
        for name in names:
            assert (place / name).read_bytes() == (TEMPLATES / folder / name.lstrip(".")).read_bytes()
    assert {path.name for path in place.iterdir()} == {"model.onnx", "model.pt", "decoding", *serving.FASTAPI, *serving.RAY}


def dims(text: str) -> dict[str, list[int]]:
    """Every tensor of Triton's configuration, and its dimensions."""
    pairs = re.findall(r'name: "(\w+)"\s+data_type: \w+\s+(?:format: \w+\s+)?dims: \[([^\]]*)\]', text)
    return {name: [int(number) for number in numbers.split(",")] for name, numbers in pairs}


def test_tritons_repository_has_the_models_shapes(place):
    vit = small_vit("registers")
    vit = replace(vit, preprocessing=replace(vit.preprocessing, size=(70, 84)))
    serving.write(Plan("onnx", extras=("features", "attention"), kits=("triton",)), vit, ("logits", "features", "attention"), place)
    repository = place / "triton" / "vit"
    text = (repository / "config.pbtxt").read_text("utf-8")
    tokens = 5 * 6 + 5  # patches, CLS and registers
    assert dims(text) == {"image": [3, 70, 84], "logits": [8], "features": [48], "attention": [3, 3, tokens, tokens]}
    assert 'name: "vit"' in text
    assert "max_batch_size: 32" in text
    assert text.count("TYPE_FP32") == 4
    assert (repository / "labels.txt").read_text("utf-8").splitlines() == [label.name or str(label.index) for label in vit.labels]
    assert (repository / "1" / "model.onnx").read_bytes() == b"model.onnx"
    assert (repository / "1" / "model.onnx").stat().st_nlink == 2  # no second copy on the disk


def test_tritons_repository_of_a_baked_model_without_classes(place, vit, monkeypatch):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr(serving.os, "link", refuse)  # another disk
    plan = Plan("onnx", baked=True, kits=("triton", "kserve"))
    serving.write(plan, replace(vit, labels=()), ("features",), place)
    text = (place / "triton" / "vit" / "config.pbtxt").read_text("utf-8")
    assert dims(text) == {"image": [224, 224, 3], "features": [48]}
    assert "TYPE_UINT8" in text
    assert "label_filename" not in text
    assert {path.name for path in (place / "triton" / "vit").iterdir()} == {"1", "config.pbtxt"}
    assert (place / "triton" / "vit" / "1" / "model.onnx").stat().st_nlink == 1
    assert (place / "kserve.yaml").read_bytes() == (TEMPLATES / "kserve.yaml").read_bytes()


def test_a_label_is_one_line(place, vit):
    labels = (
        replace(vit.labels[0], name="a\n b"),
        replace(vit.labels[1], name="", synset="n01"),
        replace(vit.labels[2], name="", synset=""),
    )
    serving.write(Plan("onnx", kits=("triton",)), replace(vit, labels=labels), ("logits",), place)
    assert (place / "triton" / "vit" / "labels.txt").read_text("utf-8") == "a b\nn01\n2\n"


def test_torchserves_archiver_gets_the_files(place, vit, monkeypatch):
    from types import SimpleNamespace

    from vitdemo.core.errors import UserError

    commands = []
    done = SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr(serving.subprocess, "run", lambda command, **_: commands.append(command) or done)
    plan = Plan("torchscript", kits=("torchserve",))
    serving.write(plan, vit, ("logits",), place)
    ((_, *words),) = commands
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert words[:2] == ["-m", "model_archiver.model_packaging"]
    assert options == {
        "--model-name": "vit",
        "--version": "1.0",
        "--handler": str(place / "torchserve" / "handler.py"),
        "--serialized-file": str(place / "model.pt"),
        "--extra-files": ",".join(str(place / name) for name in ("labels.json", "preprocessing.json", "preprocess.py", "torchserve/parts")),
        "--export-path": str(place / "torchserve"),
    }
    for name in ("ts.properties", "handler.py"):
        assert (place / "torchserve" / name).read_bytes() == (TEMPLATES / "torchserve" / name).read_bytes()
    for stderr, reason in ((f"first\n{'x' * 200}\n", "x" * 160), (" ", "no reason given")):
        shutil.rmtree(place / "torchserve")
        done = SimpleNamespace(returncode=1, stderr=stderr)
        with pytest.raises(UserError, match=re.escape(f"torch-model-archiver failed ({reason}): leave TorchServe out")):
            serving.write(plan, vit, ("logits",), place)


def test_what_is_outdated_is_said():
    assert serving.warnings(Plan("onnx", kits=("fastapi",))) == ()
    assert [said.split()[0] for said in serving.warnings(Plan("torchscript"))] == ["TorchScript"]
    assert [said.split()[0] for said in serving.warnings(Plan("torchscript", kits=("torchserve",)))] == ["TorchScript", "TorchServe"]
