"""A site with several PHP containers is served by all of them, and by those that are left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.acceptance.machine import STACK, Machine
from tests.acceptance.summary import Site
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client

pytestmark = pytest.mark.compose

VIEWS = 20


@pytest.fixture
def replicas(machine: Machine, wordpress_site: Site) -> Iterator[list[str]]:
    found = machine.php_containers(wordpress_site)
    if len(found) < 2:
        pytest.skip(f"{wordpress_site.name} has one PHP container")
    yield found
    machine.stack(f"start {' '.join(found)}")


def accepted(machine: Machine, site: Site, service: str) -> int:
    """Return how many connections FPM of a container has taken, as its status page tells."""
    socket = f"/run/php/{site.name}/{service.rpartition('-')[2]}.sock"
    ask = f"SCRIPT_NAME=/status SCRIPT_FILENAME=/status REQUEST_METHOD=GET cgi-fcgi -bind -connect {socket}"
    text = machine.run(f"cd {STACK} && docker compose exec -T {service} sh -c '{ask}'")
    found = re.search(r"accepted conn:\s+(\d+)", text)
    assert found, text
    return int(found.group(1))


def test_every_container_serves(
    machine: Machine, wordpress_site: Site, wordpress_client: Client, replicas: list[str]
) -> None:
    """Health checks and the question itself connect as well, a few times; the page views are more."""
    before = {service: accepted(machine, wordpress_site, service) for service in replicas}
    for number in range(VIEWS):
        assert wordpress_client.get(f"/?view={number}").status == 200
    grown = {service: accepted(machine, wordpress_site, service) - before[service] for service in replicas}
    assert min(grown.values()) >= VIEWS / len(replicas) / 2, grown


@pytest.mark.writes
def test_a_session_counts_on_whichever_container_answers(
    machine: Machine, wordpress_site: Site, wordpress_client: Client, replicas: list[str]
) -> None:
    program = "<?php session_start(); echo $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1, ' ', gethostname();"
    with machine.planted(wordpress_site, program) as path:
        answers = [wordpress_client.get(path).text.split() for _ in range(6)]
    assert [number for number, _ in answers] == ["1", "2", "3", "4", "5", "6"]
    assert len({container for _, container in answers}) == len(replicas)


@pytest.mark.writes
def test_the_site_is_served_while_a_container_is_away(
    machine: Machine, wordpress_site: Site, wordpress_client: Client, replicas: list[str]
) -> None:
    for service in replicas:
        machine.stack(f"stop {service}")
        # A connection that was open when it stopped may break; after that no visitor notices.
        wait_until(f"the site without {service}", lambda: wordpress_client.get("/wp-login.php").status == 200, 30)
        got = [wordpress_client.get(f"/?view={number}").status for number in range(VIEWS)]
        assert got == [200] * VIEWS
        machine.stack(f"start {service}")
        wait_until(f"{service} serves again", partial(accepted, machine, wordpress_site, service), 30)
