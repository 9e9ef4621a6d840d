"""Who is asking, so that everybody gets a share: the machine, since a session costs nothing to make."""

import ipaddress

import gradio as gr
from starlette.requests import HTTPConnection

IPV6_PREFIX = 64  # bits of an IPv6 address that are given to one household, or more


def client_of(request: HTTPConnection | gr.Request) -> str:
    """The address that a request comes from: of IPv6, its network. A proxy in front has to hand it on (X-Forwarded-For)."""
    return client_of_host(request.client.host) if request.client else ""


def client_of_host(host: str) -> str:
    """Whose address this is."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a socket of the system's
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
