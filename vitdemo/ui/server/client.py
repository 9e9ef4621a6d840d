"""Identify the client of a request, so that every client gets its share.

A client is a machine, known by its address: sessions would not do, because a new session costs nothing.
"""

import ipaddress

import gradio as gr
from starlette.requests import HTTPConnection

IPV6_PREFIX = 64  # bits of an IPv6 address; a household has a network of this size, or a larger one


def client_of(request: HTTPConnection | gr.Request) -> str:
    """The address of a request's client; for IPv6, its network. A proxy in front must pass the address on (X-Forwarded-For)."""
    return client_of_host(request.client.host) if request.client else ""


def client_of_host(host: str) -> str:
    """The client that a host address belongs to: its IPv4 address, or its IPv6 network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a Unix socket
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
