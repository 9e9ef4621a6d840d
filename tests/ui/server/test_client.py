"""Which requests come from one machine."""

from types import SimpleNamespace

import pytest

from vitdemo.ui.server.client import client_of, client_of_host


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.168.1.5", "192.168.1.5"),
        ("::ffff:192.168.1.5", "192.168.1.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_address_of_ipv4_or_a_network_of_ipv6(host, client):
    assert client_of_host(host) == client
    assert client_of(SimpleNamespace(client=SimpleNamespace(host=host))) == client


def test_a_request_without_an_address():
    assert client_of(SimpleNamespace(client=None)) == ""
