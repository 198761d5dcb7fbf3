"""What the services may do, by systemd's own measure."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.machine import Machine

# systemd-analyze(1), security: 0 is confined, 10 exposed.
MOST = 3.0
# It calls programs of the users' own, of which nothing is known.
LEFT_OUT = {"slipway-acme.service"}


def exposure(machine: Machine, unit: str) -> float:
    """Return the overall exposure level of a unit."""
    shown = machine.run(f"systemd-analyze security --no-pager {unit}")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert found, shown
    return float(found[1])


@pytest.mark.lab
def test_services_of_ours_are_confined(machine: Machine) -> None:
    if not machine.host.exists("systemd-analyze"):
        pytest.skip("another service manager has no such measure")
    units = set(machine.run("cd /etc/systemd/system && ls slipway*.service").split()) - LEFT_OUT
    assert units
    assert {unit: figure for unit in units if (figure := exposure(machine, unit)) > MOST} == {}
