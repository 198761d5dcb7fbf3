"""Each fault of tests/mutations can be planted: what it changes is there, and the check that must catch it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.mutations.faults import FAULTS, Fault, Pytest, Scenario
from tests.repository import ROOT
from tools import scenarios


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_can_be_planted(fault: Fault) -> None:
    path = ROOT / fault.path
    assert path.is_file()
    assert not fault.old or path.read_text(encoding="utf-8").count(fault.old) == 1
    if isinstance(fault.check, Scenario):
        # Of the copy, a scenario takes these alone.
        assert fault.path.startswith(("roles/", "plugins/modules/", "plugins/module_utils/", "plugins/filter/"))
        assert fault.check.name in scenarios.scenarios()
        assert fault.check.step in scenarios.STEPS


def test_the_tests_that_must_catch_them_are_there() -> None:
    """By their whole ids, parameters included; pytest refuses one that it doesn't find."""
    checks = [fault.check for fault in FAULTS]
    named = [check.test for check in checks if isinstance(check, Pytest) or check.step == "verify"]
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *named]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
