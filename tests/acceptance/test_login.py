"""Logging in: who may, who may not, and how often one may try."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client
from tests.acceptance.wordpress import LOGIN_PATIENCE, Author, try_login

pytestmark = pytest.mark.writes

# Ten a minute, and twenty more at once (facts of the web server's role; a site of its own may allow less).
PER_MINUTE = 10
AT_ONCE = 20
TRIES = AT_ONCE + 15


def test_the_administrator_gets_in(wordpress_site: Site, authors: Callable[[Site], Author]) -> None:
    author = authors(wordpress_site)
    assert author.client.get("/wp-admin/").status == 200
    # The release is the inventory's to choose, and files are edited elsewhere.
    assert author.client.get("/wp-admin/theme-editor.php").status in (403, 404)


def test_a_wrong_password_is_refused(wordpress_site: Site, summary: Summary) -> None:
    client = Client(wordpress_site, summary.ca_certificate)
    wait_until(
        "the login form takes a form",
        lambda: try_login(client, "captain", "not-the-password").status == 200,
        LOGIN_PATIENCE,
        pause=1,
    )
    assert not [name for name in client.cookies if name.startswith("wordpress_logged_in")]


def test_tries_are_limited(wordpress_client: Client) -> None:
    """As many as the limit allows for the time the tries take, and no more."""

    def attempt(_: int) -> int:
        client = Client(wordpress_client.site, wordpress_client.ca)
        return client.post("/wp-login.php", {"log": "nobody", "pwd": "nothing"}).status

    start = time.monotonic()
    # At once, because a target may be so slow that one after the other stays within the limit.
    with ThreadPoolExecutor(TRIES) as pool:
        got = list(pool.map(attempt, range(TRIES)))
    allowed = 1 + AT_ONCE + (time.monotonic() - start) / 60 * PER_MINUTE
    assert set(got) <= {200, 429}
    assert 429 in got
    assert len([status for status in got if status != 429]) <= allowed + 1
    # Looking at the form is not limited.
    assert wordpress_client.get("/wp-login.php").status == 200
    assert wordpress_client.get("/").status == 200
