"""The object cache: it is used, each site has its own part of it, and nothing breaks without it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.acceptance.conftest import Measure
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Client
from tests.acceptance.wordpress import Author

# Seconds until the cache is used again once it is back.
BACK = 30


@pytest.fixture(autouse=True)
def _needs_the_password(wordpress_site: Site, summary: Summary) -> None:
    if summary.secret(f"{wordpress_site.name}_cache_password") is None:
        pytest.skip(f"the cache password of {wordpress_site.name} is not in {summary.secrets_dir}")


def hits(machine: Machine, site: Site) -> int:
    """Return how often the cache has found what it was asked for."""
    found = re.search(r"keyspace_hits:(\d+)", machine.cache(site, "INFO stats"))
    assert found
    return int(found.group(1))


def view(client: Client, mark: str) -> None:
    """Look at a page; the query keeps any page cache out of it."""
    assert client.get(f"/?{mark}").status == 200


def test_page_views_hit_the_cache(machine: Machine, wordpress_site: Site, wordpress_client: Client, mark: str) -> None:
    view(wordpress_client, mark)
    before = hits(machine, wordpress_site)
    view(wordpress_client, mark)
    assert hits(machine, wordpress_site) >= before + 5


# A server asks for the right first and looks at the rest of a line then: what would write is not a line that it could
# carry out, so that nothing happens on a host that grants the right.
FORBIDDEN = (
    *("GET {other}:x", "EXISTS {other}:slipway:salts", "SET {other}:x 1 NX XX", "EXPIRE {other}:x soon"),
    *("RANDOMKEY", "SCAN nowhere", "DBSIZE", "FLUSHALL NEVER", "FLUSHDB NEVER", "CONFIG GET *"),
    *("CLIENT TRACKING on BCAST", "SUBSCRIBE x", "EVAL return+1 0", "SCRIPT EXISTS x", "FUNCTION LIST", "SORT_RO x"),
)


def test_the_site_keeps_its_keys_under_its_prefix(machine: Machine, wordpress_site: Site) -> None:
    assert machine.cache(wordpress_site, f"EXISTS {wordpress_site.name}:slipway:salts") == "1"
    # What is allowed is not carried out, either.
    assert "syntax error" in machine.cache(wordpress_site, f"SET {wordpress_site.name}:slipway:no 1 NX XX")
    for command in FORBIDDEN:
        answer = machine.cache(wordpress_site, command.format(other="another"))
        assert answer.startswith("NOPERM"), f"{command}: {answer}"


def test_one_sites_password_opens_no_other_site(machine: Machine, summary: Summary, wordpress_site: Site) -> None:
    others = [site for site in summary.of_type("wordpress") if site != wordpress_site]
    if not others:
        pytest.skip("there is one WordPress site alone")
    for other in others:
        assert machine.cache(wordpress_site, f"EXISTS {other.name}:slipway:salts").startswith("NOPERM")


def test_without_a_password_the_cache_says_nothing(machine: Machine, wordpress_site: Site) -> None:
    """AUTH with a wrong password leaves the connection as it was at its start."""
    answer = machine.cache(wordpress_site, f"AUTH {wordpress_site.name} wrong", "AUTH default ''", "RESET", "PING")
    assert "WRONGPASS" in answer
    assert answer.splitlines()[-1].startswith("NOAUTH")


@pytest.fixture
def post(wordpress_site: Site, authors: Callable[[Site], Author], mark: str) -> Iterator[dict[str, object]]:
    """Return a published post; it is gone after the test."""
    author = authors(wordpress_site)
    made = author.api("POST", "/wp/v2/posts", {"title": mark, "content": "first", "status": "publish"})
    yield made
    with suppress(AssertionError):
        author.api("DELETE", f"/wp/v2/posts/{made['id']}", force="true")


@pytest.mark.writes
def test_the_site_lives_without_its_cache(
    machine: Machine,
    wordpress_site: Site,
    wordpress_client: Client,
    authors: Callable[[Site], Author],
    post: dict[str, object],
    mark: str,
    measure: Measure,
) -> None:
    """Pages are shown and written while it is down; what was written then is shown when it is back."""
    page = str(post["link"]).removeprefix(wordpress_site.url)
    assert "first" in wordpress_client.get(page).text
    with machine.stopped("cache"):
        assert wordpress_client.get("/").title
        assert "first" in wordpress_client.get(page).text
        authors(wordpress_site).api("POST", f"/wp/v2/posts/{post['id']}", {"content": "second"})
        assert "second" in wordpress_client.get(page).text

    def is_cached() -> bool:
        before = hits(machine, wordpress_site)
        view(wordpress_client, mark)
        return hits(machine, wordpress_site) >= before + 5

    seconds = wait_until("the cache is used again", is_cached, BACK)
    measure(f"cache of {wordpress_site.name}: used again after it came back", seconds)
    assert "second" in wordpress_client.get(page).text


# Shows the front page, and tells what it took. Asked to, it has another process flush the cache while the page is made.
PROBE = """<?php
if (($_GET['do'] ?? '') === 'flush') {
    require __DIR__ . '/wp-load.php';
    exit(wp_cache_flush() ? 'flushed' : 'refused');
}
$_SERVER['REQUEST_URI'] = '/';
if (($_GET['do'] ?? '') === 'meanwhile') {
    $GLOBALS['wp_filter'] = ['init' => [10 => [['accepted_args' => 0, 'function' => function () {
        $here = home_url('/' . basename(__FILE__) . '?do=flush');
        $GLOBALS['said'] = wp_remote_retrieve_body(wp_remote_get($here, ['sslverify' => false, 'timeout' => 30]));
    }]]]];
}
register_shutdown_function(function () {
    while (ob_get_level()) { ob_end_clean(); }
    echo json_encode([
        'said' => $GLOBALS['said'] ?? '',
        'queries' => get_num_queries(),
        'calls' => $GLOBALS['wp_object_cache']->redis_calls,
    ]);
});
ob_start();
define('WP_USE_THEMES', true);
require __DIR__ . '/wp-blog-header.php';
"""
# Of a page whose cache is warm, and more than that where another process has just emptied it.
WARM_CALLS, FLUSHED_QUERIES = 60, 60


@pytest.mark.writes
def test_a_page_costs_few_calls_and_a_flush_meanwhile_little(
    machine: Machine, wordpress_site: Site, wordpress_client: Client
) -> None:
    """Without a query when it is warm; one that sees a flush is not slower than without any cache."""
    with machine.planted(wordpress_site, PROBE) as path:

        def page(what: str = "") -> dict[str, Any]:
            answer = wordpress_client.get(f"{path}?do={what}")
            assert answer.status == 200
            return dict(json.loads(answer.text))

        page()
        warm = page()
        flushed = page("meanwhile")
    assert warm["queries"] == 0
    assert 0 < warm["calls"] <= WARM_CALLS
    assert flushed["said"] == "flushed"
    assert flushed["queries"] <= FLUSHED_QUERIES
