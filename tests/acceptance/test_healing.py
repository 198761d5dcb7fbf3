"""A main process that dies is back within 30 seconds, and so is what it serves."""

from __future__ import annotations

import ftplib
from collections.abc import Callable

import pytest

from tests.acceptance.conftest import Measure
from tests.acceptance.ftps import Ftps
from tests.acceptance.killing import kill_each
from tests.acceptance.machine import PROGRAMS, Machine
from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client

pytestmark = [pytest.mark.writes, pytest.mark.slow]

Probe = Callable[[], bool]


def _shows(summary: Summary, site: Site, path: str) -> bool:
    return Client(site, summary.ca_certificate).get(path).status == 200


def _all_show(summary: Summary, kind: str | None, path: str = "/") -> Probe:
    sites = [site for site in summary.sites if kind in (None, site.type)]
    return lambda: all(_shows(summary, site, path) for site in sites)


def _ftp_answers(summary: Summary) -> Probe:
    def probe() -> bool:
        for site in summary.of_type("wordpress"):
            connection = Ftps(site, summary.ca_certificate)
            try:
                connection.enter(site.name, summary.secret(f"{site.name}_ftp_password") or "")
                connection.nlst("/")
            except ftplib.error_perm:
                # The password is the inventory's: that it was asked for is enough.
                if summary.secret(f"{site.name}_ftp_password"):
                    raise
            finally:
                connection.close()
        return True

    return probe


def _cache_answers(machine: Machine, summary: Summary) -> Probe:
    sites = [site for site in summary.of_type("wordpress") if summary.secret(f"{site.name}_cache_password")]
    return lambda: all(machine.cache(site, "PING") == "PONG" for site in sites)


def probe_of(component: str, machine: Machine, summary: Summary) -> Probe:
    """Return what tells whether a component serves."""
    # The login form is made by PHP and needs the database, and no page cache keeps it.
    return {
        "web": _all_show(summary, None),
        "php": _all_show(summary, "wordpress", "/wp-login.php"),
        "database": _all_show(summary, "wordpress", "/wp-login.php"),
        "cache": _cache_answers(machine, summary),
        "ftp": _ftp_answers(summary),
        "static": _all_show(summary, "static"),
        "engine": lambda: bool(machine.containers()) and _all_show(summary, None)(),
        # Whether it really runs jobs is shown by test_schedule.
        "jobs": lambda: True,
    }[component]


def why_not_declared(component: str, machine: Machine, summary: Summary) -> str:
    """Return why a component need not run, or nothing if it has to."""
    if component in ("php", "database", "cache", "ftp") and not summary.of_type("wordpress"):
        return "there is no WordPress site"
    # Which static sites have an http-server of their own the summary doesn't say, but who asks it does.
    if component == "static" and machine.host.run("grep -q proxy_pass /etc/slipway/nginx/sites/*.conf").rc:
        return "no static site has an http-server"
    if component == "engine" and not machine.compose:
        return "the provider native has no Engine"
    if component == "jobs" and machine.service_manager == "systemd":
        return "systemd runs the jobs by its own timers"
    if component == "jobs" and not summary.of_type("wordpress"):
        return "there is no WordPress site, and so no job"
    return ""


@pytest.mark.parametrize("component", PROGRAMS)
def test_a_killed_main_process_is_replaced(
    machine: Machine, summary: Summary, component: str, measure: Measure
) -> None:
    """Each main process of the component in turn; with several, as of PHP, none may be left out."""
    if reason := why_not_declared(component, machine, summary):
        pytest.skip(reason)
    killed = kill_each(machine, component, probe_of(component, machine, summary))
    for number, (victim, seconds) in enumerate(killed, 1):
        measure(f"kill -9 of {component} {number} of {len(killed)}, served again ({victim.line[:40]})", seconds)


@pytest.mark.compose
def test_the_stack_stops_and_starts_by_its_unit(machine: Machine, summary: Summary, measure: Measure) -> None:
    machine.control_service("slipway-stack", "stop")
    assert [one["Name"] for one in machine.containers() if one["State"]["Running"]] == []
    machine.control_service("slipway-stack", "start")
    seconds = wait_until("all sites are served again", _all_show(summary, None), 60, pause=0.2)
    measure("stack stopped and started by its unit: served again after", seconds)


@pytest.mark.compose
def test_every_container_is_healthy_in_the_end(machine: Machine) -> None:
    def unhealthy() -> dict[str, str]:
        return {
            one["Name"]: one["State"].get("Health", {}).get("Status", "none")
            for one in machine.containers()
            if one["State"].get("Health", {}).get("Status") != "healthy"
        }

    wait_until("every container is healthy", lambda: not unhealthy(), 60)
