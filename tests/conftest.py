"""Options and marks that all tests share, and what the acceptance tests print at the end."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader

from tests import secrecy
from tests.repository import ROOT

# Before a test imports from ansible_collections: by Python alone that would find modules, but no filter of a template.
init_plugin_loader([str(ROOT / ".collections")])

# What a test measured: name => seconds. Printed at the end, and kept in the JUnit report.
FIGURES = pytest.StashKey[dict[str, float]]()

MARKS = (
    "writes: posts, uploads, kills, reboots or recreates on the target; needs --writes",
    "lab: runs the playbook; only against the lab of this machine",
    "compose: looks at containers; only with the provider compose",
    "platforms: a platform on which little differs from another one that is tested (-m 'not platforms' leaves it out)",
    "full: takes minutes and rarely breaks alone, so `make test` leaves it to `make test-full`",
    "slow: takes longer than half a minute (-m 'not slow' leaves it out)",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("slipway", "tests against hosts")
    group.addoption(
        "--summary",
        type=Path,
        default=ROOT / ".slipway/lab/state/summary.json",
        help="what the last run made, as it was written at its end (default: that of the lab, %(default)s)",
    )
    group.addoption(
        "--access",
        type=Path,
        help="a folder with what the tests need to become root and may not keep, as tests/verify.yml makes it",
    )
    group.addoption(
        "--writes",
        action="store_true",
        help="also the tests that change the target: they post, upload, kill, reboot and recreate",
    )
    group.addoption(
        "--record",
        action="store_true",
        help="keep in tests/matrix.json that the whole acceptance suite passed on this platform (make docs shows it)",
    )
    group.addoption(
        "--provider",
        choices=["compose", "native"],
        default="native",
        help="how the tests of a real VM provision it (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = {}
    config.pluginmanager.register(secrecy.Plugin(config), "secrecy")
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the time of each file of acceptance tests, and what was measured."""
    spent: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.nodeid.startswith("tests/acceptance/"):
                spent[report.nodeid.split("::", 1)[0]] += report.duration
    if spent:
        terminalreporter.section("time of the acceptance tests")
        for name, seconds in [*sorted(spent.items(), key=lambda item: -item[1]), ("total", sum(spent.values()))]:
            terminalreporter.write_line(f"{seconds:8.1f} s  {name}")
    if figures := config.stash[FIGURES]:
        terminalreporter.section("measured")
        for name, seconds in figures.items():
            terminalreporter.write_line(f"{seconds:8.1f} s  {name}")
