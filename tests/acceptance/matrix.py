"""Which platforms the whole suite passed on, and at which commit, kept in tests/matrix.json.

The README's table is made of it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.acceptance import lab_target
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Summary
from tests.repository import ROOT

PATH = ROOT / "tests" / "matrix.json"
HERE = Path(__file__).parent
# The names that the playbooks give to what /etc/os-release calls so.
DISTRIBUTIONS = {"debian": "Debian", "alpine": "Alpine"}
OUTCOMES = ("passed", "skipped")
# What a record changes, as git is told to pass over it.
RECORDS = (":!tests/matrix.json", ":!README.md")


def why_incomplete(session: pytest.Session, status: int, summary: Summary) -> str:
    """Return why a session is no proof of the whole, or nothing if it is one."""
    config = session.config
    mine = [item for item in session.items if HERE in item.path.parents]
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    left_out = {item.path for item in mine} != set(HERE.glob("test_*.py")) or bool(reporter.stats.get("deselected"))
    reasons = {
        "not all tests passed": status != pytest.ExitCode.OK,
        "--writes was not given": not config.getoption("--writes"),
        "some tests were left out": left_out,
        "the tests that run the playbook were skipped": bool(lab_target.why_not(summary)),
        "no test was run": config.getoption("--collect-only"),
        f"what was tested is no commit: {', '.join(uncommitted())}": bool(uncommitted()),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def uncommitted() -> list[str]:
    """Return the files that are not as the commit has them, but for what a record itself changes."""
    return [line[3:] for line in _git("status", "--porcelain", "--", ".", *RECORDS).splitlines()]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def record(session: pytest.Session, machine: Machine) -> str:
    """Keep what the session proved of this machine's platform and provider; return it in a line."""
    name, version = machine.run('. /etc/os-release; echo "$ID $VERSION_ID"').split()
    release = version.partition(".")[0] if name == "debian" else ".".join(version.split(".")[:2])
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    ids = {item.nodeid for item in session.items if HERE in item.path.parents}
    outcomes = {word: [one for one in reporter.stats.get(word, []) if one.nodeid in ids] for word in OUTCOMES}
    revision, date = _git("log", "-1", "--format=%h %cs").split()
    made = {
        "platform": f"{DISTRIBUTIONS[name]} {release}",
        "service_manager": machine.service_manager,
        "provider": machine.summary.provider,
        "hosts": len(machine.every()),
        **{word: len(reports) for word, reports in outcomes.items()},
        "revision": revision,
        "date": date,
    }
    key = ("platform", "service_manager", "provider", "hosts")
    kept = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else []
    kept = [one for one in kept if [one[part] for part in key] != [made[part] for part in key]]
    kept = sorted([*kept, made], key=lambda one: [one[part] for part in key])
    PATH.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return ", ".join(f"{part} {value}" for part, value in made.items())
