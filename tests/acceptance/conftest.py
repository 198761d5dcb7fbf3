"""The acceptance tests: they know a target by .slipway/summary.json alone, and reach it by ssh and by its services.

Read-only unless --writes is given. The same tests for every provider, service manager and distribution: what differs
stands in machine.py. Run the whole folder, or any file of it by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import browser, lab_target, matrix
from tests.acceptance.machine import Machine, NoRoot
from tests.acceptance.summary import Site, Summary, read, read_access
from tests.acceptance.web import Client
from tests.acceptance.wordpress import Author, log_in_administrator
from tests.conftest import FIGURES

HERE = Path(__file__).parent
# Looking comes before touching: first what only reads, at last what runs the playbook, and what must hold after such
# runs as well. Other files come in between.
FIRST = ("test_web", "test_tls", "test_network", "test_containers", "test_secrets")
LAST = ("test_bad_input", "test_changes", "test_runs", "test_healing", "test_persistence", "test_schedule")
# The sites a test can ask for, by the name of the fixture, and their type (none: any).
SITES = {"site": None, "wordpress_site": "wordpress", "static_site": "static"}

RECORDED = pytest.StashKey[str]()

Measure = Callable[[str, float], None]

SUMMARIES = pytest.StashKey[list[Summary] | str]()


def pytest_configure(config: pytest.Config) -> None:
    """Read the summaries before anything is printed, because that is when their secrets become known."""
    path: Path = config.getoption("--summary")
    folder: Path | None = config.getoption("--access")
    try:
        config.stash[SUMMARIES] = read(path, read_access(folder) if folder else None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        config.stash[SUMMARIES] = f"{path} is no summary of a run ({error!r}): run `make up` first"


def summaries(config: pytest.Config) -> list[Summary]:
    """Return the summaries, one for each host that serves sites; without one there is nothing to test.

    That is no success.
    """
    found = config.stash[SUMMARIES]
    if isinstance(found, str):
        pytest.exit(found, returncode=4)
    return found


def _rank(item: pytest.Item) -> int:
    name = item.path.stem
    if HERE not in item.path.parents:
        return -100
    return FIRST.index(name) - 50 if name in FIRST else LAST.index(name) + 1 if name in LAST else 0


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the files, and say of each test that can't be run here why."""
    items.sort(key=lambda item: (_rank(item), item.path))
    mine = [item for item in items if HERE in item.path.parents]
    for item in mine:
        for mark, reason in _reasons(config, _summary_of(item)).items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def _summary_of(item: pytest.Item) -> Summary:
    """Return the summary of the host that a test is run for."""
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    # Where there is no site of the kind, pytest has its own mark in the place of one.
    sites = {parameters[name].host for name in SITES if isinstance(parameters.get(name), Site)}
    found = [one for one in summaries(item.config) if one == parameters.get("summary") or one.ssh.name in sites]
    return (found or summaries(item.config))[0]


def _reasons(config: pytest.Config, summary: Summary) -> dict[str, str]:
    return {
        "writes": ""
        if config.getoption("--writes")
        else "it changes the target, so make verify leaves it out (--writes)",
        "lab": lab_target.why_not(summary),
        "compose": "" if summary.provider == "compose" else f"the provider {summary.provider} has no containers",
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each host and for each site that it asks for."""
    if {"summary", *SITES}.isdisjoint(metafunc.fixturenames):
        return
    hosts = summaries(metafunc.config)
    several = len(hosts) > 1
    for fixture, kind in SITES.items():
        if fixture in metafunc.fixturenames:
            pairs = [(host, site) for host in hosts for site in host.sites if kind in (None, site.type)]
            names = [f"{site.host}-{site.name}" if several else site.name for _, site in pairs]
            if "summary" in metafunc.fixturenames:
                metafunc.parametrize(("summary", fixture), pairs, ids=names, indirect=["summary"], scope="session")
            else:
                metafunc.parametrize(fixture, [site for _, site in pairs], ids=names, scope="session")
            return
    if several and "summary" in metafunc.fixturenames:
        names = [host.ssh.name for host in hosts]
        metafunc.parametrize("summary", hosts, ids=names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def summary(request: pytest.FixtureRequest) -> Summary:
    """Return the summary of the host that is looked at."""
    found: Summary = getattr(request, "param", summaries(request.config)[0])
    return found


@pytest.fixture(scope="session")
def machine(summary: Summary) -> Iterator[Machine]:
    target = Machine(summary)
    try:
        target.check_root()
    except NoRoot as error:
        pytest.exit(str(error), returncode=4)
    yield target
    target.disconnect()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep a picture of what the browser shows where a test fails."""
    report = yield
    if call.when == "call" and report.failed and (path := browser.picture_of(item)):
        report.sections.append(("Picture of the page", str(path)))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With --record, keep that the whole suite passed on this platform."""
    if not session.config.getoption("--record"):
        return
    summary = summaries(session.config)[0]
    reason = matrix.why_incomplete(session, exitstatus, summary)
    if not reason:
        reason = matrix.record(session, Machine(summary))
    session.config.stash[RECORDED] = reason


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was recorded, or why nothing was."""
    if RECORDED in config.stash:
        terminalreporter.write_line(f"{matrix.PATH.name}: {config.stash[RECORDED]}")


@pytest.fixture
def client(site: Site, summary: Summary) -> Client:
    return Client(site, summary.ca_certificate)


@pytest.fixture
def wordpress_client(wordpress_site: Site, summary: Summary) -> Client:
    return Client(wordpress_site, summary.ca_certificate)


@pytest.fixture(scope="session")
def measure(pytestconfig: pytest.Config, record_testsuite_property: Callable[[str, object], None]) -> Measure:
    """Keep a figure: it is printed at the end, and stands in the JUnit report."""

    def keep(name: str, seconds: float) -> None:
        pytestconfig.stash[FIGURES][name] = seconds
        record_testsuite_property(name, round(seconds, 1))

    return keep


@pytest.fixture(scope="session")
def authors(summary: Summary) -> Iterator[Callable[[Site], Author]]:
    """Return who may write for a site: its administrator, logged in once for all tests."""
    known: dict[str, Author] = {}

    def find(site: Site) -> Author:
        if site.name not in known:
            author = log_in_administrator(site, summary)
            if author is None:
                pytest.skip(f"no password of {site.name}'s administrator is in {summary.secrets_dir}")
            known[site.name] = author
        return known[site.name]

    yield find
    for author in known.values():
        author.drop_password()


@pytest.fixture
def mark() -> str:
    """Return a word that is nowhere else."""
    return f"slipway-{uuid.uuid4().hex[:12]}"
