"""Clients that send one request after another, as programs do: upload, call an endpoint, read the streamed answer."""

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

PATIENCE = 300  # seconds for an answer
BUSY = ("The app is busy", "The server has no room")  # how the app's refusals begin
API = "/gradio_api"
LIMITS = httpx.Limits(max_connections=None, keepalive_expiry=2)  # seconds, fewer than the five after which an app closes an idle connection


@dataclass
class Tally:
    """The outcome of the requests, by kind.

    Attributes:
        seconds: kind → seconds of each answered request.
        lost, wrong, refused: kind → number of requests without an answer, with a wrong answer, refused because the app is busy.
        said: the distinct error messages.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    lost: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    wrong: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    said: set[str] = field(default_factory=set)

    def row(self, kind: str) -> dict:
        """Return the figures of a kind: counts, and percentiles of the seconds."""
        times = sorted(self.seconds[kind])
        share = {f"p{percent}": times[min(len(times) - 1, int(len(times) * percent / 100))] if times else None for percent in (50, 95, 99)}
        return {"answered": len(times), "lost": self.lost[kind], "wrong": self.wrong[kind], "refused": self.refused[kind], **share}

    @property
    def kinds(self) -> list[str]:
        """The kinds of the requests, the most answered first."""
        return sorted({*self.seconds, *self.lost, *self.refused}, key=lambda kind: -len(self.seconds[kind]))


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    Attributes:
        name: its name in the figures.
        visitors: number of clients that send only this kind.
        ask: function of an HTTP client and a running number; returns the endpoint, its parameters, and a function that checks an answer.
    """

    name: str
    visitors: int
    ask: Callable[[httpx.AsyncClient, int], Awaitable[tuple[str, dict, Callable[[list], bool]]]]


async def upload(client: httpx.AsyncClient, name: str, data: bytes) -> dict:
    """Upload a file. Returns the payload that names it in a request."""
    answer = await client.post(f"{API}/upload", files={"files": (name, data)})
    answer.raise_for_status()
    return {"path": answer.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}


async def visit(url: str, kinds: list[Kind], tally: Tally, seconds: float) -> float:
    """Let all clients send requests until the time is over, and wait for the last answers. Returns the seconds it took."""
    begin = time.monotonic()
    until = begin + seconds
    numbers = itertools.count()
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=LIMITS) as client:

        async def keep_asking(kind: Kind) -> None:
            while time.monotonic() < until:
                await ask_once(client, kind, next(numbers), tally)

        await asyncio.gather(*(keep_asking(kind) for kind in kinds for _ in range(kind.visitors)))
    return time.monotonic() - begin


async def crowd(url: str, kind: Kind, tally: Tally, count: int) -> None:
    """Send `count` requests at the same time."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE, limits=LIMITS) as client:
        await asyncio.gather(*(ask_once(client, kind, number, tally) for number in range(count)))


async def ask_once(client: httpx.AsyncClient, kind: Kind, number: int, tally: Tally) -> None:
    """Send one request, with its upload, and record the outcome."""
    begin = time.monotonic()
    try:
        endpoint, data, right = await kind.ask(client, number)
        event, answer = await _answer(client, endpoint, data)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        tally.lost[kind.name] += 1
        where = error.request.url.path if isinstance(error, httpx.RequestError) else ""
        tally.said.add(f"{kind.name}: {type(error).__name__} {error} {where}"[:200])
        return
    if event == "complete":
        tally.seconds[kind.name].append(time.monotonic() - begin)
        tally.wrong[kind.name] += not right(answer)
    elif isinstance(answer, str) and answer.startswith(BUSY):
        tally.refused[kind.name] += 1
        tally.said.add(f"{kind.name}: {answer}"[:200])
        await asyncio.sleep(1)
    else:
        tally.lost[kind.name] += 1
        tally.said.add(f"{kind.name}: {answer}"[:200])


async def _answer(client: httpx.AsyncClient, endpoint: str, data: dict) -> tuple[str, Any]:
    """Call an endpoint. Returns how the call ended, “complete” or “error”, and the data that came with it."""
    begun = await client.post(f"{API}/call/v2/{endpoint}", json=data)
    if begun.status_code != 200:
        return "error", begun.json().get("detail")
    event = ""
    async with client.stream("GET", f"{API}/call/v2/{endpoint}/{begun.json()['event_id']}") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: ") and event in ("complete", "error"):
                payload = json.loads(line[6:])
                return event, payload["error"] if event == "error" and isinstance(payload, dict) else payload
    raise ValueError("the answer ended in the middle")
