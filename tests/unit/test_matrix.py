"""What counts as a proof of the whole: sessions of the acceptance suite that are none, and what they say with --record.

Nothing is run on a host: the sessions end where the tests are collected.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import ROOT
from tests.unit.one_host import SITE, SSH

MATRIX = ROOT / "tests/matrix.json"
TLS = "tests/acceptance/test_tls.py"
LEFT_OUT = "some tests were left out"


def verdict(tmp_path: Path, arguments: list[str]) -> str:
    """Return what a session over a host that isn't the lab's says of its record."""
    summary = tmp_path / "summary.json"
    hosts = [{"name": "vm1", "provider": "native", "ssh": SSH, "backends": {}}]
    made = {"sites": [SITE], "ca_certificate": "ca.crt", "secrets_dir": "secrets", "hosts": hosts}
    summary.write_text(json.dumps(made))
    before = MATRIX.read_bytes()
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", "--record")
    done = subprocess.run(
        [*command, "--summary", str(summary), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert MATRIX.read_bytes() == before
    found = re.search(r"^matrix\.json: (.*)$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return found[1]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["tests/acceptance"], "--writes was not given"),
        (["tests/acceptance", "--writes", "-k", "not cache"], LEFT_OUT),
        (["tests/acceptance", "--writes", "--deselect", f"{TLS}::test_old_protocols_are_refused"], LEFT_OUT),
        ([TLS, "--writes"], LEFT_OUT),
        (["tests/acceptance", "--writes"], "the tests that run the playbook were skipped"),
    ],
    ids=lambda value: " ".join(value[1:]) or "all" if isinstance(value, list) else None,
)
def test_a_part_of_the_suite_is_not_recorded(tmp_path: Path, arguments: list[str], reason: str) -> None:
    assert verdict(tmp_path, arguments) == reason
