"""Who is asking, so that everybody gets a share: the machine, since a session costs nothing to make."""

import ipaddress
import time
from collections import Counter

import gradio as gr
from starlette.requests import Request

NETWORK = 64  # bits of an IPv6 address that are given to one household, or more
LATELY = 10  # minutes


def caller_of(request: Request | gr.Request) -> str:
    """The address that a request comes from: of IPv6, its network. A proxy in front has to hand it on (X-Forwarded-For)."""
    return machine_of(request.client.host) if request.client else ""


def machine_of(host: str) -> str:
    """Whose address this is."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a socket of the system's
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), NETWORK), strict=False))


class Sent:
    """Bytes that each caller has sent within the last ten minutes."""

    def __init__(self):
        self._sent: dict[int, Counter[str]] = {}  # minute → caller → bytes

    def add(self, caller: str, bytes: int) -> int:
        """Note more. Returns: all of the caller's."""
        minute = int(time.monotonic() // 60)
        for old in [each for each in self._sent if each <= minute - LATELY]:
            del self._sent[old]
        self._sent.setdefault(minute, Counter())[caller] += bytes
        return sum(each[caller] for each in self._sent.values())
