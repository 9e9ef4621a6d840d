"""A demo day: many clients at once at the app with the demo model; every answer is compared with the known one.

First classification only, in turn with a bare Gradio app that calls timm; then all kinds of requests mixed, for the given time; then more
requests at the same moment than the queue holds. Each app runs in a process of its own, and this process plays the clients.
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from vitdemo.bench.load_known import MODEL, Known, known, unseen, zipped
from vitdemo.bench.load_visitors import Kind, Tally, ask_once, crowd, upload, visit

TURNS = 2  # of classification only, for each app
ALONE = 30.0  # seconds of a turn, or a tenth of the mixed load where that is shorter
CROWD = 3  # requests at once, as a multiple of the places in the queue
START = 120  # seconds for an app to start
SHARES = {"attention": 0.2, "gallery of 100": 0.08, "fine-tuning": 0.02, "export": 0.02}  # of the clients; the others classify


def run(*, runs: int = TURNS, photos: Path | None = None, minutes: float = 1.0, clients: int = 50) -> dict:
    """Print the outcome of all requests, and return the figures.

    Args:
        runs: turns of classification only, at most TURNS.
        photos: not used: only the answers to the bundled drawings are known.
        minutes: duration of the mixed load.
        clients: number of simultaneous clients.
    """
    truth = known()
    alone = min(ALONE, 6 * minutes)
    with tempfile.TemporaryDirectory() as home, _app("app.py", home) as ours, _app("bare", home) as bare:
        known_results = asyncio.run(_warm(ours.url, truth))
        asyncio.run(_warm_bare(bare.url, truth))
        sides, took = (
            {"this app": (ours, Tally()), "bare Gradio and timm": (bare, Tally())},
            dict.fromkeys(("this app", "bare Gradio and timm"), 0.0),
        )
        for _ in range(min(runs, TURNS)):
            for name, (app, tally) in sides.items():
                took[name] += asyncio.run(visit(app.url, [_classify(truth, clients)], tally, alone))
        print(f"classification alone, {clients} clients, {min(runs, TURNS) * alone:.0f} s each in turn")
        figures = {name: _print_row(name, tally, "classify", took[name]) for name, (_, tally) in sides.items()}
        bare.end()
        tally, memory, seconds = Tally(), [ours.memory()], 0.0
        disk = [ours.disk()]
        for _ in range(2):  # two halves, to measure the memory between them
            seconds += asyncio.run(visit(ours.url, _kinds(truth, clients, known_results), tally, 30 * minutes))
            memory.append(ours.memory())
            disk.append(ours.disk())
        print(f"everything mixed, {clients} clients, {minutes:g} minutes")
        figures["mixed"] = {kind: _print_row(kind, tally, kind, seconds) for kind in tally.kinds}
        rush = Tally()
        asyncio.run(crowd(ours.url, _classify(truth, 1), rush, CROWD * 100))
        print(f"{CROWD * 100} classifications at the same moment, of which 100 may wait")
        figures["crowd"] = _print_row("at once", rush, "classify", None)
        for sentence in sorted(tally.said | rush.said):
            print(f"  said: {sentence}")
        waits = ours.waits()
    print(f"  memory of the app and its children: {' · '.join(f'{size:.0f}' for size in memory)} MB at the start, the middle and the end")
    print(f"  its folder for visitors: {' · '.join(f'{size:.0f}' for size in disk)} MB")
    print(f"  short work waited for the model {waits['mean'] * 1000:.0f} ms on average, and at most {waits['most']:g} s in 99 of 100")
    return figures | {"memory_mb": memory, "disk_mb": disk, "short_wait": waits}


def _kinds(truth: Known, clients: int, results: dict) -> list[Kind]:
    count = {name: max(1, round(clients * share)) for name, share in SHARES.items()}
    gallery, classes = zipped(truth.photos), zipped(unseen())
    names = list(truth.heats)

    async def attention(client, number: int):
        name = names[number % len(names)]
        photo = await upload(client, Path(name).name, truth.photos[name])
        data = {"photo": photo, "method": "rollout"}
        return "attention", data, lambda answer: truth.looked(name, answer[0]["heat"])

    async def many(client, number: int):
        def right(answer: list) -> bool:
            rows = answer[0]["rows"]
            known = [truth.classified(row["photo"].removeprefix("many.zip/"), row["predictions"]) for row in rows if "predictions" in row]
            return len(known) == len(truth.photos) and all(known)

        return "classify", {"photo": None, "top": 3, "photos": [await upload(client, "many.zip", gallery)]}, right

    async def learn(client, number: int):
        data = {"photos": await upload(client, "classes.zip", classes), "settings": {"seed": 1}}
        return "finetune", data, lambda answer: _learned(answer[0]) == results["fine-tuning"]

    async def export(client, number: int):
        return "export", {}, lambda answer: _exported(answer[0]) == results["export"]

    special = [("attention", attention), ("gallery of 100", many), ("fine-tuning", learn), ("export", export)]
    return [
        _classify(truth, max(1, clients - sum(count.values()))),
        *(Kind(name, count[name], ask) for name, ask in special if name in results or name not in ("fine-tuning", "export")),
    ]


def _classify(truth: Known, visitors: int) -> Kind:
    names = list(truth.photos)

    async def ask(client, number: int):
        name = names[number % len(names)]
        photo = await upload(client, Path(name).name, truth.photos[name])
        return "classify", {"photo": photo}, lambda answer: truth.classified(name, answer[0]["predictions"])

    return Kind("classify", visitors, ask)


def _learned(report: dict) -> tuple:
    return report["classes"], round(report["accuracy"], 3)


def _exported(report: dict) -> tuple:
    (row,) = (candidate for candidate in report["rows"] if candidate["shipped"])
    return report["plan"]["format"], row["bytes"], row["agreement"]["agreement"]


async def _warm(url: str, truth: Known) -> dict:
    """Send every kind of request once, without load. Returns the results of fine-tuning and export, which must be the same under load."""
    import httpx

    results: dict = {}

    def note(name: str, read):
        return lambda answer: results.setdefault(name, read(answer[0])) is not None

    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        offered = (await client.get("/gradio_api/info")).json()["named_endpoints"]
        results_of = {"fine-tuning": _learned, "export": _exported}
        for kind in _kinds(truth, 1, dict.fromkeys(results_of, ())):
            if kind.name in results_of and f"/{'finetune' if kind.name == 'fine-tuning' else kind.name}" not in offered:
                continue
            ask = kind.ask
            if kind.name in results_of:

                async def ask(client, number, kind=kind):
                    endpoint, data, _ = await kind.ask(client, number)
                    return endpoint, data, note(kind.name, results_of[kind.name])

            await ask_once(client, Kind(kind.name, 1, ask), 0, tally := Tally())
            if tally.said or tally.wrong[kind.name]:
                raise RuntimeError(f"{kind.name} does not work: {tally.said or 'another answer than the known one'}")
    return results


async def _warm_bare(url: str, truth: Known) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=url, timeout=600) as client:
        await ask_once(client, _classify(truth, 1), 0, tally := Tally())
        if tally.said or tally.wrong["classify"]:
            raise RuntimeError(f"the bare app does not work: {tally.said or 'another answer than the known one'}")


class _App:
    """A running app in a process of its own."""

    def __init__(self, url: str, process: subprocess.Popen, home: Path):
        self.url, self.process, self._home = url, process, home

    def memory(self) -> float:
        """Return the resident memory of the app and its children in megabytes; 0 where the system does not report it."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
        family = {self.process.pid}
        while more := {child for child, parent in parents.items() if parent in family} - family:
            family |= more
        return sum(_resident(process) for process in family) / 1e6

    def disk(self) -> float:
        """Return the size of the app's folder for visitors in megabytes."""
        return sum(path.stat().st_size for path in self._home.rglob("*") if path.is_file()) / 1e6

    def waits(self) -> dict:
        """Return the seconds that short work waited for the model: the mean, and the upper bound of the bucket of the 99th percentile."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        buckets = re.findall(r'model_wait_seconds_bucket{kind="short",le="([^"]+)"} (\S+)', text)
        total, count = (float(re.findall(rf'model_wait_seconds_{name}{{kind="short"}} (\S+)', text)[0]) for name in ("sum", "count"))
        most = next(float(bound) for bound, below in buckets if float(below) >= 0.99 * count)
        return {"mean": total / count, "most": most}

    def end(self) -> None:
        """Terminate the app, and wait until its process has ended."""
        self.process.terminate()
        self.process.wait(60)


@contextmanager
def _app(which: str, home: str):
    """Start this app or the bare app, wait until it answers, and end it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = Path(home, which)
    own.mkdir()
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "app.py"), "--model", "demo", "--port", str(port), "--monitor", "--temp-dir", str(own)]
    if which == "bare":
        command = [sys.executable, "-P", str(root / "vitdemo" / "bench" / "load_plain.py"), str(MODEL), str(port)]
    ours = ("OMP_", "GRADIO_")  # variables that importing vitdemo has set in this process
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ |= {"NO_PROXY": "127.0.0.1,localhost", "GRADIO_TEMP_DIR": str(own), "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    app = _App(f"http://127.0.0.1:{port}", process, own)
    try:
        begin = time.monotonic()
        while True:
            try:
                urllib.request.urlopen(f"{app.url}/config", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() - begin > START:
                    raise RuntimeError(f"{which} did not start") from None
                time.sleep(0.2)
        yield app
    finally:
        if process.poll() is None:
            app.end()


def _resident(process: int) -> int:
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0  # a process that is ending has no such line


def _print_row(title: str, tally: Tally, kind: str, seconds: float | None) -> dict:
    row = tally.row(kind)
    speed = f"{row['answered'] / seconds:6.2f} a second" if seconds else ""
    times = "  ".join(f"{name} {1000 * row[name]:7.0f} ms" for name in ("p50", "p95", "p99")) if row["answered"] else ""
    print(
        f"  {title:22}{row['answered']:6} answered, {row['lost']} lost, {row['wrong']} wrong, {row['refused']} refused  {times}  {speed}",
        flush=True,
    )
    return row
