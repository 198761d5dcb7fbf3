"""What the playbooks know of a host: where it is reached, and what is in the way on it."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from plugins.filter import slipway_hosts as hosts
from plugins.filter.slipway_roles import role_options
from tests.repository import COMPONENTS, ROOT, load


@pytest.mark.parametrize(
    ("connection", "own", "wanted"),
    [
        # A rented VM: one address.
        ("198.51.100.7", "198.51.100.7", "198.51.100.7"),
        # Clouds with 1:1 NAT: the host knows a private address alone.
        ("1.1.1.1", "10.0.0.5", "1.1.1.1"),
        # Vagrant with a network of its own, and with a forwarded port.
        ("192.168.56.10", "10.0.2.15", "192.168.56.10"),
        ("127.0.0.1", "10.0.2.15", "10.0.2.15"),
        ("localhost", "10.0.2.15", "10.0.2.15"),
        # Ansible comes over a management network.
        ("10.8.0.5", "1.1.1.1", "1.1.1.1"),
        # An alias of ssh's configuration, and a container's name.
        ("no such name", "10.0.0.5", "10.0.0.5"),
        # FTP knows IPv4 alone.
        ("2001:db8::7", "10.0.0.5", "10.0.0.5"),
        ("2001:db8::7", None, "2001:db8::7"),
        ("no such name", None, "no such name"),
        ("::1", None, "::1"),
    ],
)
def test_visitors_come_to_the_address_that_they_can_reach(connection: str, own: str | None, wanted: str) -> None:
    assert hosts.visitors_address(connection, own) == wanted


def test_a_name_is_resolved_to_the_address_that_ftp_can_tell() -> None:
    name = socket.gethostname()
    assert hosts.visitors_address(name, "169.254.0.1") in {socket.gethostbyname(name), "169.254.0.1"}


WANTED: list[dict[str, Any]] = [
    {"variable": "nginx_tls_https_port", "port": 443},
    {"variable": "nginx_tls_http_port", "port": 80},
    {"variable": "ftp_passive_ports", "first": 21100, "last": 21110},
]


def _container(name: str, project: str, ports: str) -> str:
    """Return a container as Docker lists it."""
    labels = f"com.docker.compose.oneoff=False,com.docker.compose.project={project},other=1" if project else ""
    return json.dumps({"Names": name, "Labels": labels, "Ports": ports})


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (
            _container("proxy", "", "0.0.0.0:80->8080/tcp, :::80->8080/tcp"),
            ["nginx_tls_http_port: port 80", "container proxy"],
        ),
        (
            _container("shop-web-1", "shop", "127.0.0.1:443->443/tcp"),
            ["nginx_tls_https_port: port 443", "container shop-web-1"],
        ),
        (
            _container("range", "", "[::]:21105-21120->21105-21120/tcp"),
            ["ftp_passive_ports: port 21105", "container range"],
        ),
        (_container("wide", "", "0.0.0.0:400-500->400-500/tcp"), ["nginx_tls_https_port: port 443", "container wide"]),
    ],
)
def test_a_container_of_others_on_a_wanted_port_is_named(line: str, named: list[str]) -> None:
    (found,) = hosts.foreign_containers([line], "slipway", WANTED)
    assert all(part in found for part in named)


@pytest.mark.parametrize(
    "line",
    [
        _container("slipway-nginx-1", "slipway", "0.0.0.0:443->443/tcp"),
        _container("other", "", "0.0.0.0:8443->443/tcp"),
        # Nothing is published, and HTTP/3 is none of ours.
        _container("quiet", "shop", "443/tcp"),
        _container("quic", "shop", "0.0.0.0:443->443/udp"),
        "skipped, since /run/docker.sock does not exist",
    ],
)
def test_all_other_containers_are_left_in_peace(line: str) -> None:
    assert hosts.foreign_containers([line], "slipway", WANTED) == []


PARTS = {"/": 0.25, "/var/lib/docker": 0.5, "/srv": 0.25}


def _rooms(**free: int) -> list[dict[str, Any]]:
    mounts = {"/": "/", "/var/lib/docker": "/var" if "var" in free else "/", "/srv": "/srv" if "srv" in free else "/"}
    known = {"/": free["root"], "/var": free.get("var"), "/srv": free.get("srv")}
    return [{"path": path, "mount": mounts[path], "free_mb": known[mounts[path]]} for path in PARTS]


def test_one_file_system_has_to_hold_it_all() -> None:
    assert hosts.short_disks(_rooms(root=4096), PARTS, 4096) == []
    (line,) = hosts.short_disks(_rooms(root=4095), PARTS, 4096)
    assert line == "4096 MiB of free disk are needed on /, which has 4095"


def test_a_small_partition_is_seen_beside_a_large_one() -> None:
    (line,) = hosts.short_disks(_rooms(root=50_000, var=1000), PARTS, 4096)
    assert line == "2048 MiB of free disk are needed on /var, which has 1000"


def test_a_small_root_passes_where_nothing_large_goes_there() -> None:
    assert hosts.short_disks(_rooms(root=1100, var=9000, srv=9000), PARTS, 4096) == []


def test_what_is_moved_needs_its_room_where_it_goes() -> None:
    (line,) = hosts.short_disks(_rooms(root=9000, srv=3000), PARTS, 4096, 5000)
    assert "on /srv" in line
    assert "6024 MiB" in line


def test_who_shares_files_and_sockets_is_on_one_host() -> None:
    both = hosts.groups_together(COMPONENTS, ["wordpress", "static"], "native")
    assert both["web"] == ["php", "static"]
    assert both["ftp"] == ["php"]
    assert both["database"] == both["cache"] == []
    assert hosts.groups_together(COMPONENTS, ["static"], "native")["web"] == ["static"]


def test_the_stack_needs_the_engine_on_each_host() -> None:
    stacked = hosts.groups_together(COMPONENTS, ["wordpress"], "compose")
    assert all(needed[-1] == "docker_hosts" for needed in stacked.values())
    assert "docker_hosts" not in stacked


def test_the_list_of_components_agrees_with_itself() -> None:
    groups = {component["group"] for component in COMPONENTS}
    keys = {"role", "group", "provider", "needs", "serves", "memory", "programs"}
    for component in COMPONENTS:
        assert component.keys() <= keys, component
        options = role_options(str(ROOT / f"roles/{component['role']}/meta/argument_specs.yml"))
        assert component.get("memory", "") in ["", *options], component
        assert {*component.get("needs", []), *component.get("serves", {}).values()} <= groups, component
        assert component.get("provider", "compose") in ("compose", "native")
    named = set(load(ROOT / "inventory/hosts.yml")["all"]["children"])
    assert named == groups | {"slipway"}
