"""Each fault of tests/mutations can be planted: what it changes is there, and the check that must catch it."""

from __future__ import annotations

import pytest

from tests.mutations.faults import FAULTS, Fault, Pytest
from tests.repository import ROOT
from tools import scenarios


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_can_be_planted_and_has_its_check(fault: Fault) -> None:
    path = ROOT / fault.path
    assert path.is_file()
    assert not fault.old or path.read_text(encoding="utf-8").count(fault.old) == 1
    if isinstance(fault.check, Pytest):
        file, _, name = fault.check.test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8")
    else:
        assert fault.check.name in scenarios.scenarios()
