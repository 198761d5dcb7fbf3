from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.machine import Machine
from tests.acceptance.waiting import wait_until


def sources(machine: Machine) -> list[str]:
    return [line.split(",")[2] for line in machine.run("chronyc -c -n sources -a").splitlines()]


def test_the_given_servers_are_asked(machine: Machine) -> None:
    # A name that can't be looked up yet is listed as well.
    assert "192.0.2.123" in sources(machine)
    assert len(sources(machine)) > 1


def test_the_distribution_s_servers_are_not_asked_beside_them(machine: Machine) -> None:
    assert "ntp.org" not in machine.run("chronyc sources -a")


def test_nobody_else_is_served(machine: Machine) -> None:
    """Neither by NTP nor by the port that chronyc could use."""
    ports = machine.run("cat /proc/net/udp /proc/net/udp6")
    assert [port for port in (123, 323) if f":{port:04X} 00000000" in ports] == []


def test_a_killed_daemon_is_back(machine: Machine) -> None:
    before = machine.run("pgrep -o chronyd")
    machine.run(f"kill -9 {before}")
    wait_until("another chronyd", lambda: machine.run("pgrep -o chronyd") != before, 30)


def test_without_a_list_the_distribution_s_servers_are_asked(machine: Machine, converge: Callable[..., str]) -> None:
    converge(host_time_servers=[])
    assert "pool.ntp.org" in machine.run("cat /etc/chrony/chrony.conf")
    assert "192.0.2.123" not in sources(machine)


def test_debian_s_own_daemon_is_replaced(machine: Machine, converge: Callable[..., str]) -> None:
    """Two that set one clock would work against each other."""
    if not machine.host.file("/run/systemd/system").exists:
        pytest.skip("systemd-timesyncd is systemd's")
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get install -qq -y systemd-timesyncd >/dev/null 2>&1")
    assert machine.host.run("dpkg -s chrony | grep '^Status.* installed'").rc != 0
    converge()
    assert machine.host.run("systemctl is-active systemd-timesyncd").rc != 0
    assert "192.0.2.123" in sources(machine)


def test_a_container_is_left_out_by_default(machine: Machine, converge: Callable[..., str]) -> None:
    said = converge(host_time_in_containers=False, host_time_servers=["192.0.2.99"])
    assert "has its machine's clock" in said
    assert "192.0.2.99" not in machine.run("cat /etc/chrony/chrony.conf")
