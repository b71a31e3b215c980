"""One client, one form of its address."""

from __future__ import annotations

import pytest

from config.addresses import network, parsed, plain

FORMS = {
    "192.0.2.1": "192.0.2.1",
    "::ffff:192.0.2.1": "192.0.2.1",
    "::FFFF:C000:201": "192.0.2.1",
    "2001:DB8:0:0:0:0:0:1": "2001:db8::1",
    "fe80::1%eth0": "fe80::1",
    "::": "::",
    "nonsense": "nonsense",
    "192.0.2.01": "192.0.2.01",
    "": "",
}


@pytest.mark.parametrize("text", FORMS)
def test_an_address_has_one_form(text: str) -> None:
    assert plain(text) == FORMS[text]
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize("text", ["", "nonsense", "1.2.3", "[::1]", "::1]", "%eth0", "1.2.3.4:80"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert parsed(text) is None


NETWORKS = {
    "127.0.0.1": "127.0.0.1/32",
    "::ffff:127.0.0.1": "127.0.0.1/32",
    "::FFFF:A00:0/104": "10.0.0.0/8",
    "::ffff:0:0/96": "0.0.0.0/0",
    "2001:db8::/32": "2001:db8::/32",
    "::/0": "::/0",
}


@pytest.mark.parametrize("text", NETWORKS)
def test_networks_written_as_mapped_addresses_held_nobody(text: str) -> None:
    assert str(network(text)) == NETWORKS[text]


@pytest.mark.parametrize("text", ["", "10.0.0.1/8", "::ffff:10.0.0.1/104", "::ffff:0:0/95", "10.0.0.0/33"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        network(text)
