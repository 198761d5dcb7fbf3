from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.machine import Machine
from tests.acceptance.test_network import open_ports
from tests.acceptance.waiting import wait_until

FILE = "/etc/slipway/firewall.nft"
TABLE = "inet slipway_firewall"
# Listen on the target: the one that is open, one that is open to others, and one that is not.
SERVERS = (8089, 8088, 8087)
SERVE = "setsid python3 -m http.server {} >/dev/null 2>&1 </dev/null & echo $!"
# Asks for a page as another user, and says whether it was answered; an answer of any kind is one.
ASK = "import socket; socket.create_connection(('169.254.169.254', {}), timeout=2)"


def serves(machine: Machine, port: int) -> bool:
    ask = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=5)"
    return bool(machine.host.run(f'python3 -c "{ask}"').rc == 0)


@pytest.fixture(scope="module", autouse=True)
def servers(machine: Machine) -> Iterator[None]:
    pids = [machine.run(SERVE.format(port)) for port in SERVERS]
    wait_until("all of them serve", lambda: all(serves(machine, port) for port in SERVERS), 20)
    yield
    machine.run(f"kill {' '.join(pids)}")


def reached(machine: Machine) -> set[int]:
    # Not all there are: each thousand takes seconds where nothing is refused, and the whole is scanned as a whole.
    return open_ports(machine.summary.ssh.host, [*range(1, 1024), *range(8000, 9000)])


def test_what_is_listed_is_open_and_nothing_else(machine: Machine) -> None:
    assert reached(machine) == {8089, machine.summary.ssh.port}


def test_it_is_loaded_again_at_boot(machine: Machine) -> None:
    """As its unit does it; the servers of the tests don't outlive a reboot."""
    machine.run(f"nft delete table {TABLE}")
    assert reached(machine) >= set(SERVERS)
    systemd = machine.service_manager == "systemd"
    machine.run("systemctl restart slipway-firewall" if systemd else "rc-service slipway-firewall restart")
    assert reached(machine) == {8089, machine.summary.ssh.port}
    where = "/etc/systemd/system/sysinit.target.wants/*" if systemd else "/etc/runlevels/boot/*"
    assert "slipway-firewall" in machine.run(f"ls {where}")


@pytest.mark.parametrize(
    "line",
    [
        "nft flush ruleset",
        f"nft insert rule {TABLE} arriving tcp dport 8087 accept",
        f"nft delete table {TABLE}",
    ],
    ids=["flushed", "changed", "deleted"],
)
def test_a_run_mends_what_is_in_force(machine: Machine, converge: Callable[..., str], line: str) -> None:
    machine.run(line)
    assert 8087 in reached(machine)
    converge()
    assert reached(machine) == {8089, machine.summary.ssh.port}


def test_other_tables_stay(machine: Machine, converge: Callable[..., str]) -> None:
    machine.run("nft 'add table inet own; add chain inet own mine; add rule inet own mine counter'")
    try:
        before = machine.run("nft list table inet own")
        converge(host_firewall_open=[{"port": 8087}])
        assert reached(machine) == {8087, machine.summary.ssh.port}
        assert machine.run("nft list table inet own") == before
    finally:
        machine.run("nft delete table inet own")


def test_a_confined_user_does_not_reach_the_metadata_service(machine: Machine) -> None:
    """A service of the tests' own on the loopback device stands in for it."""
    machine.run("ip address add 169.254.169.254/32 dev lo")
    try:
        ask = ASK.format(8087)
        assert machine.host.run(f'python3 -c "{ask}"').rc == 0
        confined = f"import os; os.setuid(65534); {ask}"
        assert "timed out" in machine.host.run(f'python3 -c "{confined}"').stderr
    finally:
        machine.run("ip address delete 169.254.169.254/32 dev lo")


def test_a_source_that_leaves_out_the_controller_is_refused(machine: Machine, converge: Callable[..., str]) -> None:
    before = machine.run(f"cat {FILE}")
    with pytest.raises(AssertionError, match=r"host_firewall_ssh_sources: 192\.0\.2\.1 is not allowed; this run"):
        converge(host_firewall_ssh_sources=["192.0.2.1"])
    assert machine.run(f"cat {FILE}") == before
