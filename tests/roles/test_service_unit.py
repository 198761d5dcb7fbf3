from __future__ import annotations

import pytest

from tests.acceptance.killing import LIMIT
from tests.acceptance.machine import Machine
from tests.acceptance.waiting import wait_until
from tests.roles.services import is_enabled

ASK = "python3 -c 'import urllib.request; print(urllib.request.urlopen(\"http://127.0.0.1:8099/\", timeout=5).status)'"


def main_process(machine: Machine) -> int:
    found = [one for one in machine.processes() if "http.server 8099" in one.line and "python3" in one.names[-1]]
    pids = {one.pid for one in found}
    mains = [one for one in found if one.parent not in pids]
    assert len(mains) == 1
    main = mains[0]
    # nobody, who is no other number anywhere.
    assert main.uid == 65534
    return main.pid


def test_the_unit_answers_as_its_user(machine: Machine) -> None:
    assert machine.run(ASK) == "200"
    assert main_process(machine)


def test_it_survives_the_kill_of_its_process(machine: Machine) -> None:
    before = main_process(machine)
    machine.run(f"kill -9 {before}")
    wait_until("it is back", lambda: main_process(machine) != before and machine.run(ASK) == "200", LIMIT)


def test_a_job_runs_by_its_timer(machine: Machine) -> None:
    machine.run("rm -f /var/lib/slipway-probe/ran")
    wait_until("the job ran", lambda: machine.run("ls /var/lib/slipway-probe") == "ran", 100, pause=1)


def test_what_it_prints_is_rotated(machine: Machine) -> None:
    if machine.service_manager == "systemd":
        pytest.skip("systemd's journal keeps what it prints")
    assert "/var/log/slipway/slipway-probe.log" in machine.run("logrotate --debug /etc/logrotate.d/slipway-units 2>&1")


def test_it_brings_no_mail_server(machine: Machine) -> None:
    """What runs jobs and rotates logs would recommend one."""
    assert machine.run("ls -d /etc/exim4 /etc/postfix 2>/dev/null || true") == ""
    # 25, in the state LISTEN, as the kernel writes it.
    assert ":0019 0" not in machine.run("cat /proc/net/tcp /proc/net/tcp6")


def test_one_can_log_in_before_it_is_ready(machine: Machine) -> None:
    """OpenRC goes on with the next service only when this one is ready, or has been given up."""
    if machine.service_manager == "systemd":
        pytest.skip("systemd lets nothing wait for a service that it wasn't told to")
    # What comes before it, as OpenRC has made it out of all scripts; Debian's script has another name.
    assert {"ssh", "sshd"} & set(machine.run("rc-service slipway-probe iafter").split())


def test_it_starts_at_boot(machine: Machine) -> None:
    assert is_enabled(machine, "slipway-probe")
