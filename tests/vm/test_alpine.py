"""Alpine with a kernel and a disk of its own: from a system without Python to served sites, and back after a reboot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import ssh, vm
from lab.base import run, succeeds
from tests.acceptance import summary
from tests.acceptance.summary import Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import all_served
from tests.conftest import FIGURES
from tests.vm.machine import SERVED, Machine, make


@pytest.fixture(scope="module")
def machine(pytestconfig: pytest.Config) -> Iterator[Machine]:
    """Return a VM that was just made. It is switched off at the end; `make down` removes it."""
    made = make("alpine1", "alpine", "vm-alpine", "native")
    yield made
    vm.power_cut(made.vm)
    pytestconfig.stash[FIGURES].update(made.figures)


@pytest.fixture(scope="module")
def told(machine: Machine) -> Summary:
    """Provision the VM, which has no Python then; return what the run tells."""
    assert not succeeds(*ssh.command(machine.vm.address, "command -v python3"))
    first = machine.run("first run")
    assert first.code == 0, first.output[-3000:]
    return summary.read(machine.state / "summary.json")[0]


def test_a_vm_without_python_becomes_served_sites(told: Summary) -> None:
    assert all_served(told)


def test_a_second_run_changes_nothing(machine: Machine, told: Summary) -> None:
    assert told
    second = machine.run("second run")
    assert second.code == 0, second.output[-3000:]
    assert second.changes == []
    assert second.changed == 0


def test_everything_is_back_after_a_reboot(machine: Machine, told: Summary) -> None:
    machine.reboot()
    assert "sshd" in run(*ssh.command(machine.vm.address, "rc-update show default"))
    machine.measure("served after ssh", wait_until("all sites are served", lambda: all_served(told), SERVED))
