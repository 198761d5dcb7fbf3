"""What WordPress has to do later is done in time, by the host's timers: a visit starts nothing.

After the reboot of test_persistence.py, so that timers which don't come back by themselves show.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from tests.acceptance.conftest import Measure
from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.wordpress import Author

pytestmark = [pytest.mark.writes, pytest.mark.slow]

# Seconds. WordPress publishes at once what is due within a minute.
AHEAD = 75
# Seconds between two turns of a timer (php_fpm_wordpress_cron_minutes), and for a turn itself.
TURN = 300
WORK = 60


def test_a_post_for_later_is_published(
    summary: Summary, authors: Callable[[Site], Author], mark: str, measure: Measure
) -> None:
    due = (datetime.now(UTC) + timedelta(seconds=AHEAD)).strftime("%Y-%m-%dT%H:%M:%S")
    content = {"title": mark, "content": mark, "status": "future", "date_gmt": due}
    waiting: dict[str, Callable[[], str]] = {}

    def status_of(author: Author, post: int) -> Callable[[], str]:
        return lambda: str(author.api("GET", f"/wp/v2/posts/{post}", context="edit")["status"])

    with ExitStack() as undo:
        for site in summary.of_type("wordpress"):
            author = authors(site)
            post = author.api("POST", "/wp/v2/posts", content)["id"]
            undo.callback(author.api, "DELETE", f"/wp/v2/posts/{post}", force="true")
            waiting[site.name] = status_of(author, post)
        assert {ask() for ask in waiting.values()} == {"future"}

        def are_published() -> bool:
            late = [name for name, ask in waiting.items() if ask() != "publish"]
            assert not late, f"not yet: {', '.join(late)}"
            return True

        seconds = wait_until("posts for later are published", are_published, AHEAD + TURN + WORK, pause=2)
        measure("posts for later: published after they were due", seconds - AHEAD)
