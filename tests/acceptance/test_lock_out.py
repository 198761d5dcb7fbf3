"""A change that locks the controller out is undone by the host, and the run says so."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
import pytest
import yaml

from tests.acceptance.conftest import Measure
from tests.acceptance.lab_target import BIN, INVENTORY
from tests.acceptance.machine import Machine, PinnedBackend
from tests.acceptance.summary import Summary
from tests.acceptance.waiting import wait_until
from tests.repository import ROOT

pytestmark = [pytest.mark.lab, pytest.mark.full]

# Seconds until one must be able to log in again, and until the run must have ended: a connection that is cut takes a
# while to notice that it isn't any more.
BACK, ENDED = 90, 300
FILES = "/etc/slipway/firewall.nft /etc/ssh/sshd_config.d/*"
DROP = """\
table inet lock_out {
    chain everything {
        type filter hook prerouting priority -150; policy drop;
        iifname "lo" accept
    }
}
"""


@dataclass(frozen=True)
class Case:
    """What locks out: a role and what it is told, or a task."""

    name: str
    role: str = ""
    told: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)


# What the roles refuse is told them by their private variables.
ANY = {"__host_ssh_own_settings": {"none": "none"}}
CASES = (
    Case("list without ssh", "host_firewall", {"__host_firewall_ssh_ports": []}),
    Case("another port", "host_ssh", {**ANY, "host_ssh_options": {"Port": 2222}}),
    Case("user not allowed", "host_ssh", {**ANY, "host_ssh_options": {"AllowUsers": "nobody"}}),
    Case(
        "settings that end sshd",
        "host_ssh",
        {"host_ssh_options": {"NoSuchOption": "yes"}, "__host_ssh_apply": "kill -HUP $(cat /run/sshd.pid); sleep 1"},
    ),
    # Cuts the run's own connection as well, so that nobody but the host can undo it.
    Case(
        "everything dropped",
        task={
            "name": "lock_out",
            "files": [{"path": "/etc/slipway/lock-out.nft", "content": DROP, "mode": "0600"}],
            "apply": "nft --file /etc/slipway/lock-out.nft",
            "undo": "nft delete table inet lock_out",
        },
    ),
)


def gets_in(summary: Summary) -> bool:
    """Say whether one can log in by a new connection."""
    backend = PinnedBackend(summary.ssh)
    backend.timeout = 3
    try:
        backend.client.close()
    except (OSError, paramiko.SSHException, EOFError):
        return False
    return True


def locked_out(summary: Summary, run: subprocess.Popen[str]) -> bool:
    """Say whether nobody gets in; raises RuntimeError where the run has ended without that."""
    if run.poll() is not None:
        raise RuntimeError(run.communicate()[0])
    return not gets_in(summary)


def play(folder: Path, case: Case) -> list[str]:
    """Write the playbook of a case; return the command that runs it."""
    task = {"ansible.builtin.include_role": {"name": case.role}} if case.role else {"guarded_change": case.task}
    path = folder / "play.yml"
    path.write_text(yaml.safe_dump([{"hosts": "slipway", "become": True, "tasks": [task]}]))
    return [str(BIN / "ansible-playbook"), str(path), "-i", str(INVENTORY), "-e", json.dumps(case.told)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_lock_out_is_undone(machine: Machine, summary: Summary, tmp_path: Path, measure: Measure, case: Case) -> None:
    before = machine.run(f"cat {FILES}; nft list table inet slipway_firewall")
    assert gets_in(summary)
    run = subprocess.Popen(
        play(tmp_path, case),
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until("it is locked out", lambda: locked_out(summary, run), ENDED)
        measure(f"locked out: {case.name}", wait_until("one gets in again", lambda: gets_in(summary), BACK))
        output = run.communicate(timeout=ENDED)[0]
    finally:
        run.kill()
        machine.disconnect()
    assert run.returncode != 0
    # Where the run's own connection was cut as well, it may have heard of nothing until all was over.
    assert "a new connection by ssh fails" in output or "too late, what was before is restored already" in output
    assert machine.run(f"cat {FILES}; nft list table inet slipway_firewall") == before
