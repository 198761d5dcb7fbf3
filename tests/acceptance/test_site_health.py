"""What WordPress's own Site Health says of each site: nothing critical, and no advice that could be followed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.summary import Site
from tests.acceptance.wordpress import Author

pytestmark = pytest.mark.writes

# What it may find fault with, by the name of its test, and why nothing is done about it here.
LEFT = {
    "dotorg_communication": "a closed network has no way to WordPress's own servers",
    "background_updates": "the release is the inventory's, so core's own updates are off",
    "php_version": "which release is current, WordPress's own servers say",
    "wordpress_version": "the release is the inventory's",
    "page_cache": "there is none",
    "plugin_version": "plugins are their owner's",
    "theme_version": "themes are their owner's",
}


def direct(author: Author) -> list[dict[str, Any]]:
    """Return the results that come with the page itself."""
    page = author.client.get("/wp-admin/site-health.php")
    assert page.status == 200
    found = re.search(r"var SiteHealth = (\{.*\});", page.text)
    assert found, "the page has no results"
    results: list[dict[str, Any]] = json.loads(found[1])["site_status"]["direct"]
    return results


def asked(author: Author) -> list[dict[str, Any]]:
    """Return the results that the page asks for one by one."""
    routes = author.api("GET", "/wp-site-health/v1")["routes"]
    tests = [route for route in routes if re.fullmatch(r"/wp-site-health/v1/tests/[a-z-]+", route)]
    assert len(tests) >= 5
    # Site Health sends the cookie along, and so the test of the header has one to look at.
    return [author.api("GET", route) for route in tests]


def test_site_health_finds_nothing_that_could_be_better(
    wordpress_site: Site, authors: Callable[[Site], Author]
) -> None:
    author = authors(wordpress_site)
    results = [*direct(author), *asked(author)]
    assert {"rest_availability", "loopback_requests", "scheduled_events", "php_extensions"} <= {
        result["test"] for result in results
    }
    told = {result["test"]: f"{result['status']}: {result['label']}" for result in results}
    print(json.dumps(told, indent=1))
    assert {name: line for name, line in told.items() if not line.startswith("good") and name not in LEFT} == {}
