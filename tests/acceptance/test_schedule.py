"""What WordPress has to do later is done in time, by the host's timers: a visit starts nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest

from tests.acceptance.conftest import Measure
from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.wordpress import Author

# It waits for minutes, mostly.
pytestmark = [pytest.mark.writes, pytest.mark.slow, pytest.mark.full]

# Seconds. WordPress publishes at once what is due within a minute, and a slow target takes long to take a post.
AHEAD = 120
# Seconds between two turns of a timer (php_fpm_wordpress_cron_minutes), and for a turn itself.
TURN = 300
WORK = 60


def test_a_post_for_later_is_published(
    summary: Summary, authors: Callable[[Site], Author], mark: str, measure: Measure
) -> None:
    waiting: dict[str, Callable[[], str]] = {}

    def status_of(author: Author, post: int) -> Callable[[], str]:
        return lambda: str(author.api("GET", f"/wp/v2/posts/{post}", context="edit")["status"])

    # The limit of logins may hold one of them up.
    logged_in = {site.name: authors(site) for site in summary.of_type("wordpress")}
    with ExitStack() as undo:
        start = time.monotonic()
        for name, author in logged_in.items():
            # By the target's clock, not by this one's.
            now = parsedate_to_datetime(author.client.get("/").headers["Date"])
            due = (now + timedelta(seconds=AHEAD)).strftime("%Y-%m-%dT%H:%M:%S")
            content = {"title": mark, "content": mark, "status": "future", "date_gmt": due}
            post = author.api("POST", "/wp/v2/posts", content)["id"]
            undo.callback(author.api, "DELETE", f"/wp/v2/posts/{post}", force="true")
            waiting[name] = status_of(author, post)
        assert {ask() for ask in waiting.values()} == {"future"}

        def are_published() -> bool:
            late = [name for name, ask in waiting.items() if ask() != "publish"]
            assert not late, f"not yet: {', '.join(late)}"
            return True

        wait_until("posts for later are published", are_published, AHEAD + TURN + WORK, pause=2)
        measure("posts for later: published after they were due", time.monotonic() - start - AHEAD)
