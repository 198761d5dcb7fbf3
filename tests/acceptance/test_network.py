"""What can be reached from outside: the sites, FTP and ssh, and nothing else."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.acceptance import ftps, web
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Summary

PASSIVE_PORTS = range(21100, 21150)
# What the host brought along: the name lookups among neighbours of systemd-resolved, which Debian's cloud images have.
LLMNR = 5355
# Connections tried at a time, and seconds a filtered one may keep silent.
AT_ONCE = 1000
SILENCE = 1.5


def _begin(address: str, port: int) -> socket.socket | None:
    """Begin to connect; none where the answer, a refusal, is there at once."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    attempt = socket.socket(family, socket.SOCK_STREAM)
    attempt.setblocking(False)
    if attempt.connect_ex((address, port)) in (0, errno.EINPROGRESS):
        return attempt
    attempt.close()
    return None


def _open_among(address: str, ports: Iterable[int]) -> set[int]:
    found = set()
    with selectors.DefaultSelector() as waiting:
        for port in ports:
            if attempt := _begin(address, port):
                waiting.register(attempt, selectors.EVENT_WRITE, port)
        end = time.monotonic() + SILENCE
        while waiting.get_map() and (left := end - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                tried = key.fileobj
                assert isinstance(tried, socket.socket)
                waiting.unregister(tried)
                if tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    found.add(int(key.data))
                tried.close()
        for key in list(waiting.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    return found


def open_ports(address: str, ports: Iterable[int]) -> set[int]:
    """Return which TCP ports of an address accept a connection."""
    todo = list(ports)
    found: set[int] = set()
    for start in range(0, len(todo), AT_ONCE):
        found |= _open_among(address, todo[start : start + AT_ONCE])
    # Looked at twice, so that a port that was open for a moment doesn't count.
    return _open_among(address, sorted(found))


def test_the_scan_finds_an_open_port() -> None:
    """The scan itself: one that finds nothing would pass for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert open_ports("127.0.0.1", range(port - 50, port + 50)) >= {port}


@pytest.mark.parametrize("port", [3306, 6379, 9000, 2375], ids=["database", "cache", "php", "engine"])
def test_what_serves_the_sites_is_not_reachable(summary: Summary, port: int) -> None:
    address = summary.sites[0].address
    with pytest.raises((ConnectionRefusedError, TimeoutError)):
        socket.create_connection((address, port), timeout=3).close()


def test_no_stranger_reaches_the_hosts_of_database_and_cache(summary: Summary) -> None:
    """This machine is a third host, which has no business there: but for ssh, no port of theirs answers it."""
    if not summary.backends:
        pytest.skip("database and cache are on the host of the sites")
    found = {ssh.host: open_ports(ssh.host, range(1, 65536)) - {ssh.port} for ssh in summary.backends.values()}
    assert found == {ssh.host: set() for ssh in summary.backends.values()}


def test_nothing_but_the_services_is_open(summary: Summary) -> None:
    address = summary.sites[0].address
    served = {site.port for site in summary.sites} | {web.HTTP_PORT}
    if summary.of_type("wordpress"):
        served.add(ftps.PORT)
    found = open_ports(address, range(1, 65536))
    assert found >= served
    assert found - served - {summary.ssh.port, LLMNR} - set(PASSIVE_PORTS) == set()


@pytest.fixture
def address_ipv6(machine: Machine) -> str:
    """Return the address by which the target is reached over IPv6."""
    route = machine.host.run("ip -6 -o route show default").stdout.split()
    device = route[route.index("dev") + 1] if "dev" in route else ""
    shown = machine.host.run(f"ip -6 -o addr show dev {device} scope global").stdout.split() if device else []
    if "inet6" not in shown:
        pytest.skip("the host has no address of IPv6 that leads elsewhere")
    return str(shown[shown.index("inet6") + 1]).partition("/")[0]


def test_the_sites_answer_over_ipv6(summary: Summary, address_ipv6: str) -> None:
    assert web.all_served(replace(summary, sites=tuple(replace(one, address=address_ipv6) for one in summary.sites)))


def test_nothing_more_is_open_over_ipv6(summary: Summary, address_ipv6: str) -> None:
    allowed = {web.HTTP_PORT, ftps.PORT, summary.ssh.port, LLMNR, *PASSIVE_PORTS}
    allowed |= {site.port for site in summary.sites}
    assert open_ports(address_ipv6, range(1, 65536)) - allowed == set()
