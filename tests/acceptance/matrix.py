"""Which platforms the whole suite passed on, kept in tests/matrix.json; the README's table is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.machine import Machine
from tests.repository import ROOT

PATH = ROOT / "tests" / "matrix.json"
HERE = Path(__file__).parent
# The names that the playbooks give to what /etc/os-release calls so.
DISTRIBUTIONS = {"debian": "Debian", "alpine": "Alpine"}


def why_incomplete(session: pytest.Session, status: int) -> str:
    """Return why a session is no proof of the whole, or nothing if it is one."""
    config = session.config
    here = {item.path for item in session.items if HERE in item.path.parents}
    if status != pytest.ExitCode.OK:
        return "not all tests passed"
    if not config.getoption("--writes"):
        return "--writes was not given"
    if config.getoption("-k") or config.getoption("-m") or here != set(HERE.glob("test_*.py")):
        return "some tests were left out"
    return ""


def record(session: pytest.Session, machine: Machine) -> str:
    """Keep what the session proved of this machine's platform and provider; return it in a line."""
    name, version = machine.run('. /etc/os-release; echo "$ID $VERSION_ID"').split()
    release = version.partition(".")[0] if name == "debian" else ".".join(version.split(".")[:2])
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    outcomes = reporter.stats
    made = {
        "platform": f"{DISTRIBUTIONS[name]} {release}",
        "service_manager": machine.service_manager,
        "provider": machine.summary.provider,
        "passed": len(outcomes.get("passed", [])),
        "skipped": len(outcomes.get("skipped", [])),
    }
    key = ("platform", "service_manager", "provider")
    kept = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else []
    kept = [one for one in kept if [one[part] for part in key] != [made[part] for part in key]]
    kept = sorted([*kept, made], key=lambda one: [one[part] for part in key])
    PATH.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return ", ".join(f"{part} {value}" for part, value in made.items())
