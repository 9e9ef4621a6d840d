"""What the page asks of an export, without a child process: counts, status, the report and its chart, and files by their names."""

import re
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from tests.support.http import answer_of
from tests.support.pictures import noise
from vitdemo.core.config import Settings
from vitdemo.core.inference.model_store import ModelStore
from vitdemo.export.bundle import DRAWINGS
from vitdemo.export.parity import Agreement
from vitdemo.export.plan import Plan
from vitdemo.export.report import Report, ReportRow
from vitdemo.ui.server.page_routes import Caller
from vitdemo.ui.tabs.export import routes
from vitdemo.ui.tabs.export.routes import ExportRoutes, number_words, size_words
from vitdemo.ui.tabs.export.session import GONE_MODEL, NO_ROOM, NOTHING_YET
from vitdemo.ui.tabs.export.sessions import ExportSessions

EXACT = Agreement(photos=10, largest=1e-5, mean=1e-6, agreement=1.0, top5=1.0, accuracy=None, accuracy_before=None, labelled=0)
SMALL = ReportRow("dynamic", 1_000_000, replace(EXACT, largest=1e-3, agreement=0.9), {1: 0.01, 8: 0.04}, shipped=True)
FP32 = ReportRow("fp32", 4_000_000, EXACT, {1: 0.02, 8: 0.08})
REPORT = Report(
    model="vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    source="the hub",
    parameters=2_000_000,
    plan=Plan("onnx", "int8"),
    recipe="dynamic",
    rows=(FP32, SMALL),
    torch_seconds={1: 0.04, 8: 0.16},
    photos="ten photos",
    extras={},
    runtime="ONNX Runtime 1",
    torch="2",
    device="cpu",
    cores=2,
    processor="a processor",
)


@dataclass
class Job:
    """A job that is as it is told to be."""

    state: str = "running"
    error: str = ""
    log: list = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "stopped")

    def events(self, start: int) -> list:
        return self.log[start:]


class Jobs:
    """Starts jobs that do nothing."""

    waiting = False

    def __init__(self) -> None:
        self.started, self.stopped = [], []

    def start(self, command, folder, clear, *, client):
        self.started.append((command, client))
        return Job()

    def place(self, job) -> int:
        return 4

    def stop(self, job) -> None:
        self.stopped.append(job)
        job.state = "stopped"


@pytest.fixture
def sessions(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    store = ModelStore(Settings(model=f"local-dir:{bundle}", device="cpu"))
    store.get().result(60)
    return ExportSessions(store, Jobs())


@pytest.fixture
def ask(sessions):
    return partial(answer_of, ExportRoutes(sessions), caller=Caller("ann", "10.0.0.1"))


@pytest.fixture
def photos(tmp_path) -> list[list[str]]:
    """Three uploads in two folders."""
    files = []
    for number, name in enumerate(("cat/1.png", "cat/2.png", "dog/3.png")):
        path = tmp_path / "uploads" / f"{number}.png"
        noise(30, 20, number).save(path)
        files.append([name, str(path)])
    return files


@pytest.fixture
def running(ask, sessions):
    """A session whose export has begun."""
    return sessions.get(ask("start", plan={"format": "onnx"})["session"])


@pytest.fixture
def finished(running):
    """A session whose export is done."""
    running.job.state, running.plan, running.title = "done", REPORT.plan, "Run 1"
    (running.bundle / "known_answer").mkdir(parents=True)
    REPORT.write(running.bundle)
    for name, size in {"model.onnx": 1_000_000, "labels.json": 20, "server.py": 1500, "known_answer/input.npy": 0, "odd.txt": 1}.items():
        (running.bundle / name).write_bytes(bytes(size))
    return running


def test_photos_are_counted_by_what_they_are_for(ask, photos):
    first = ask("add", kind="photos", files=photos)
    counts = {"photos": 3, "used": 3, "folders": 2, "notes": []}
    one = {"photos": 1, "used": 1, "folders": 1, "notes": []}
    assert first["given"] == {"photos": counts}
    again = ask("add", session=first["session"], kind="calibration", files=photos[:1])
    assert again == {"session": first["session"], "given": {"photos": counts, "calibration": one}}
    assert ask("remove", session=first["session"], kind="photos")["given"] == {"calibration": one}
    for name in ("add", "remove"):
        assert ask(name, session=first["session"], kind="other", files=photos)["error"] == "Say what the photos are for."
    assert ask("add", kind="photos", files=[["a.png", "/etc/passwd"]])["error"] == "Send the photos as uploaded files."


def test_a_start_and_its_status(ask, sessions, bundle, running):
    ((command, client),) = sessions.jobs.started
    assert client == "10.0.0.1"
    assert f"--model=local-dir:{bundle}" in command
    running.job.log = [{"kind": "step", "number": number} for number in range(3)]
    told = ask("poll", session=running.id, start=2)
    assert told["plan"] == {"format": "onnx", "precision": "fp32", "baked": False, "extras": [], "kits": [], "prefer": "fastest"}
    assert (told["given"], told["state"], told["place"], told["error"], told["report"]) == ({}, "running", 4, "", "")
    assert told["events"] == [{"kind": "step", "number": 2}]
    assert len(ask("poll", session=running.id, start=-5)["events"]) == 3
    assert "at work here" in ask("start", session=running.id, plan={"format": "onnx"})["error"]


def test_before_the_start_there_is_nothing(ask, sessions, photos):
    id = ask("add", kind="photos", files=photos)["session"]
    told = ask("poll", session=id)
    assert (told["plan"], told["state"], told["events"], told["report"]) == (None, "", [], "")
    assert ask("stop", session=id) == {}
    assert sessions.jobs.stopped == []
    assert ask("compare", session=id)["error"] == ask("download", session=id)["error"] == NOTHING_YET


def test_stop_reaches_the_job(ask, sessions, running):
    assert ask("stop", session=running.id) == {}
    assert sessions.jobs.stopped == [running.job]
    assert ask("poll", session=running.id)["state"] == "stopped"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("/srv/deep/er/model.onnx can't be read", "model.onnx can't be read"),
        ("There is no folder /srv/models/mine: choose another.", GONE_MODEL),
        ("{folder} has no room left", NO_ROOM),
        ("{folder} can't be written", "The server can't keep this export: tell the operator."),
    ],
)
def test_a_failure_names_no_path_of_the_server(ask, running, error, said):
    running.job.state, running.job.error = "failed", error.format(folder=running.folder)
    assert ask("poll", session=running.id)["error"] == said


def test_a_finished_export_is_named_for_the_comparison(ask, finished):
    assert ask("compare", session=finished.id) == {"tried": f"{finished.id}/{finished.bundle.parent.name}"}


def test_files_are_taken_one_by_one_or_as_a_zip(ask, finished):
    path = Path(ask("download", session=finished.id, file="known_answer/input.npy")["path"])
    assert path.parts[-2:] == ("known_answer", "input.npy")
    assert path.stat().st_nlink == 2  # no second copy on the disk
    assert ask("download", session=finished.id)["path"].endswith(f"/{finished.bundle.name}.zip")
    for name in ("../secret", "/etc/passwd", "missing.txt", ""):
        assert list(ask("download", session=finished.id, file=name)) == ["error"]


def test_the_report_tells_the_figures(ask, finished):
    html = ask("poll", session=finished.id)["report"]
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    for words in ("Run 1", "90.0 %", "0.001", "10.0 ms", "40.0 ms", "1.0 MB", "4.0 MB", "the model", "the FastAPI server"):
        assert words in text, words
    names = re.findall(r'data-file="([^"]+)"', html)
    assert names[0] == "model.onnx"  # the model first, then what lies at the top
    assert names[-1] == "known_answer/input.npy"
    assert set(names) == {"model.onnx", "labels.json", "server.py", "known_answer/input.npy", "odd.txt", "report.json", "report.html"}


def bars(report: Report) -> dict[str, list[tuple]]:
    base = next((row for row in report.rows if row.name == "fp32"), report.shipped)
    return {group["title"]: group["bars"] for group in routes._bars(report, base)}


def times(exported: str, fp32: str, torch: str) -> list[tuple]:
    """Bars of which each is twice as long as the one before."""
    return [("exported", 0.25, exported, True), ("fp32, ONNX", 0.5, fp32, False), ("torch, cpu", 1.0, torch, False)]


def test_the_chart_of_an_int8_model_stands_beside_fp32():
    assert bars(REPORT) == {
        "Top-1 agreement, with the original": [("exported", 0.9, "90.0 %", True), ("fp32, ONNX", 1.0, "100.0 %", False)],
        "Max difference of logits, log scale": [
            ("exported", pytest.approx(0.5), "0.001", True),
            ("fp32, ONNX", pytest.approx(0.25), "1e-05", False),
        ],
        "Time for 1 photo": times("10.0 ms", "20.0 ms", "40.0 ms"),
        "Time for 8 photos": times("40.0 ms", "80.0 ms", "160.0 ms"),
        "Size": [("exported", 0.25, "1.0 MB", True), ("fp32, ONNX", 1.0, "4.0 MB", False)],
    }


def test_the_chart_of_an_fp32_model_of_features_stands_alone():
    row = replace(FP32, shipped=True, agreement=replace(EXACT, top5=None))
    found = bars(replace(REPORT, rows=(row,), photos=DRAWINGS))
    assert list(found)[:2] == ["Same features, with the original", "Max difference of features, log scale"]
    assert found["Same features, with the original"] == [("exported", 1.0, "100.0 %", True)]
    assert found["Size"] == [("exported", 0.5, "4.0 MB", True), ("fp32 weights", 1.0, "8.0 MB", False)]


@pytest.mark.parametrize(("difference", "place"), [(0.0, 0.0), (1e-9, 0.0), (1e-7, 0.0), (1e-3, 0.5), (10.0, 1.0), (500.0, 1.0)])
def test_differences_lie_on_a_logarithmic_scale(difference, place):
    assert routes._decades(difference) == pytest.approx(place)


def test_numbers_in_words():
    assert [number_words(value) for value in (0, 0.00031, 3.14e-6, 0.5)] == ["0", "0.00031", "3.1e-06", "0.5"]
    sizes = (0, 999, 1000, 99_999, 100_000, 2_345_678)
    assert [size_words(size) for size in sizes] == ["0 bytes", "999 bytes", "1.0 KB", "100.0 KB", "0.1 MB", "2.3 MB"]


def test_an_export_is_known_by_its_id_alone(ask, running):
    for name, asked in {"poll": {}, "stop": {}, "compare": {}, "download": {}, "remove": {"kind": "photos"}, "start": {}}.items():
        for id in (running.id[:-1], running.id + "x", "../" + running.id):
            assert "error" in ask(name, session=id, plan={"format": "onnx"}, **asked), name
