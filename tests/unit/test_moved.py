"""Every documented variable that changes a port, a path, an id, an address or a name, tried away from its default.

The variables are found in the roles' specifications. A host on which all of them are away from their defaults gets
files in which no default is left: what one role is told reaches all others that need to know.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.rendered import DEBIAN, HOSTS, Host, movable, moved, render

PROVIDERS = ("compose", "native")
# What no file holds: it goes into a certificate, by a module.
UNWRITTEN = {"tls_certificate_ca_name"}


def words(name: str, value: Any, provider: str) -> str:
    """Return the pattern by which a value of a variable is found in a file."""
    if name.endswith("_ports"):
        return rf"(?<!\d)({value[0]}|{value[1]})(?!\d)"
    if name.endswith("_port"):
        # As the host has it; in its container a server may listen on another one.
        return rf"^\s*- ['\"]?{value}:" if provider == "compose" else rf"listen(_port=|\s+)(\[::\]:)?{value}\b"
    if name.endswith("_project"):
        return rf"^\s*name: {value}(_\w+)?$"
    if isinstance(value, int):
        return rf"(?<!\d){value}(?!\d)"
    return rf"(?<![\w./-]){re.escape(value)}(?!\w)"


def holding(host: Host, pattern: str) -> list[str]:
    root = render(host).root(host)
    paths = [path for path in root.rglob("*") if path.is_file()]
    expression = re.compile(pattern, re.MULTILINE)
    return sorted(str(path.relative_to(root)) for path in paths if expression.search(path.read_text(errors="ignore")))


def hosts(provider: str) -> tuple[Host, Host]:
    """Return a host with all defaults, and one that is away from them."""
    mine = [host for host in HOSTS if (host.provider, host.platform) == (provider, DEBIAN) and not host.files]
    return next(host for host in mine if not host.apart and not host.away), next(host for host in mine if host.away)


@pytest.mark.platforms
@pytest.mark.parametrize("name", movable())
def test_nothing_stays_where_a_variable_moved_it_from(name: str) -> None:
    value = movable()[name]
    found = []
    for provider in PROVIDERS:
        default, away = hosts(provider)
        here = holding(default, words(name, value, provider))
        found += here
        assert holding(away, words(name, value, provider)) == []
        assert bool(holding(away, words(name, moved(name, value), provider))) == bool(here)
    assert bool(found) == (name not in UNWRITTEN)


def test_the_variables_are_found() -> None:
    """Those that were forgotten somewhere before."""
    known = {"nginx_tls_https_port", "nginx_tls_container_uid", "tls_certificate_dir", "ftp_port", "static_site_dir"}
    assert known <= movable().keys()
    assert not [name for name, value in movable().items() if moved(name, value) == value]
