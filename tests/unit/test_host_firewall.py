"""The filters of the role host_firewall."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.filter.host_firewall import firewall_admits, firewall_faults, firewall_source_faults


@pytest.mark.parametrize(
    "entry",
    [
        {"port": 443},
        {"port": "443", "protocol": "udp"},
        {"first": 21100, "last": 21149, "comment": "FTP (passive)"},
        {"port": 9100, "sources": ["10.0.0.7", "10.1.0.0/16", "2001:db8::/32"], "first": None},
    ],
)
def test_what_can_be_open(entry: dict[str, Any]) -> None:
    assert firewall_faults([entry], "open") == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "open[0]: give either port, or first and last"),
        ({"first": 1}, "open[0]: give either port, or first and last"),
        ({"port": 1, "first": 1, "last": 2}, "open[0]: give either port, or first and last"),
        ({"port": 0}, "open[0]: 0 is not allowed; ports are 1 to 65535"),
        ({"first": 9, "last": 8}, "open[0]: 9-8 is not allowed; ports are 1 to 65535"),
        ({"port": 1, "sources": ["vm1"]}, "open[0].sources: 'vm1' is not allowed; names are not resolved"),
        ({"port": 1, "comment": 'a" accept; drop'}, "open[0].comment: 'a\" accept; drop' is not allowed"),
    ],
)
def test_what_can_t_be_open_is_said_in_a_line(entry: dict[str, Any], said: str) -> None:
    (fault,) = firewall_faults([entry], "open")
    assert fault.startswith(said)


def test_a_source_is_an_address_or_a_network() -> None:
    assert firewall_source_faults(["192.0.2.1", "192.0.2.0/24", "::1"], "x") == []
    assert len(firewall_source_faults(["office.example.test", "192.0.2.0/33"], "x")) == 2


def test_an_address_is_admitted_by_itself_or_its_network() -> None:
    assert firewall_admits(["192.0.2.0/24"], "192.0.2.9")
    assert firewall_admits(["2001:db8::/32", "192.0.2.9"], "2001:db8::1")
    assert not firewall_admits(["192.0.2.0/24", "::/0"], "198.51.100.1")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_comes_from_the_host_itself_needs_no_source(address: str) -> None:
    """As the filter has it: a run may come through a tunnel that ends on the host."""
    assert firewall_admits(["192.0.2.0/24"], address)
