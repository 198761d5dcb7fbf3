"""What the services may do, by systemd's own measure."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.machine import Machine

# systemd-analyze(1), security: 0 is confined, 10 exposed. What starts a container or a client needs little.
OURS, DISTRIBUTIONS = 3.0, 5.0
# It is root by its nature: whoever starts containers starts them as anybody.
LEFT_OUT = {"docker.service", "containerd.service"}


def exposure(machine: Machine, unit: str) -> float:
    """Return the overall exposure level of a unit."""
    shown = machine.run(f"systemd-analyze security --no-pager {unit}")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert found, shown
    return float(found[1])


def test_services_are_confined(machine: Machine) -> None:
    """Those of ours, and the distribution's that we have a drop-in for."""
    if not machine.host.exists("systemd-analyze"):
        pytest.skip("another service manager has no such measure")
    ours = machine.run("cd /etc/systemd/system && ls -d slipway*.service").split()
    dropped = machine.run("cd /etc/systemd/system && grep -ls 'Written by Slipway' *.service.d/*.conf || true").split()
    theirs = {name.partition(".d/")[0] for name in dropped} - LEFT_OUT
    assert {unit: figure for unit in ours if (figure := exposure(machine, unit)) > OURS} == {}
    assert {unit: figure for unit in theirs if (figure := exposure(machine, unit)) > DISTRIBUTIONS} == {}
