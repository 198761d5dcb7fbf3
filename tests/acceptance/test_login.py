"""Logging in: who may, who may not, and how often one may try."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.summary import Site, Summary
from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Answer, Client
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


def posted(client: Client, path: str, form: dict[str, str]) -> Answer:
    """Send a form as soon as the limit for logins lets it through."""
    got: list[Answer] = []

    def sent() -> bool:
        got.append(client.post(path, form))
        return got[-1].status != 429

    wait_until(f"{path} takes a form", sent, LOGIN_PATIENCE, pause=1)
    return got[-1]


def test_visitors_learn_no_name_of_a_user(
    wordpress_site: Site, summary: Summary, authors: Callable[[Site], Author]
) -> None:
    author = authors(wordpress_site)
    ids = [user["id"] for user in author.api("GET", "/wp/v2/users", context="edit")]
    assert author.user in {user["username"] for user in author.api("GET", "/wp/v2/users", context="edit")}
    visitor = Client(wordpress_site, summary.ca_certificate)
    for path in ("/?author={}", "/?author={}&feed=rss2"):
        assert {visitor.get(path.format(number)).status for number in ids} == {404}, path
    assert {visitor.get(f"/index.php?author={number}").location for number in ids} == {
        f"{wordpress_site.url}/?author={number}" for number in ids
    }
    for route in ("/wp/v2/users", "/WP/V2/users", f"/wp/v2/users/{ids[0]}", "/wp/v2/users/", "/wp/v2/users?slug=x"):
        answer = visitor.get(f"/?rest_route={route.replace('?', '&')}")
        assert (answer.status, answer.json()["code"]) == (401, "rest_user_cannot_view"), route
    post = author.api("GET", "/wp/v2/posts", per_page="1")[0]
    assert author.user not in visitor.get(f"/?rest_route=/wp/v2/posts/{post['id']}&_embed=author").text
    embed = visitor.get(f"/?rest_route=/oembed/1.0/embed&url={post['link']}")
    assert embed.status == 200
    assert author.user not in embed.text
    assert "users" not in visitor.get("/wp-sitemap.xml").text
    assert visitor.get("/wp-sitemap-users-1.xml").status == 404


def test_a_user_who_wrote_nothing_has_no_page_either(
    wordpress_site: Site, summary: Summary, authors: Callable[[Site], Author], mark: str
) -> None:
    author, visitor = authors(wordpress_site), Client(wordpress_site, summary.ca_certificate)
    person = {"username": mark, "email": f"{mark}@example.test", "password": mark * 2, "roles": ["author"]}
    number = author.api("POST", "/wp/v2/users", person)["id"]
    try:
        there, not_there = (visitor.get(f"/author/{name}/") for name in (mark, "nobody-has-this-name"))
        assert there.status == not_there.status == 404
        assert mark not in there.title
        assert visitor.get(f"/author/{author.user}/").status == 200
    finally:
        author.api("DELETE", f"/wp/v2/users/{number}", force="true", reassign="1")


def test_nobody_is_told_which_names_are_there(
    wordpress_site: Site, summary: Summary, authors: Callable[[Site], Author]
) -> None:
    author = authors(wordpress_site)
    names = [author.user, "nobody-has-this-name", "nobody@example.test"]

    def visitor() -> Client:
        return Client(wordpress_site, summary.ca_certificate)

    logins = [posted(visitor(), "/wp-login.php", {"log": name, "pwd": "not-the-password"}).text for name in names]
    said = {
        re.sub(r"\s+", " ", found[1])
        for text in logins
        if (found := re.search(r'(?s)id="login_error"[^>]*>(.*?)</div>', text))
    }
    assert len(said) == 1, said
    assert all(f'value="{name}"' in text for name, text in zip(names, logins, strict=True))
    asked = [posted(visitor(), "/wp-login.php?action=lostpassword", {"user_login": name}) for name in names]
    assert {(answer.status, answer.location.rpartition("/")[2]) for answer in asked} == {
        (302, "wp-login.php?checkemail=confirm")
    }
    basic = [base64.b64encode(f"{name}:not the password".encode()).decode() for name in names]
    answers = [visitor().get("/?rest_route=/wp/v2/posts", {"Authorization": f"Basic {one}"}) for one in basic]
    assert len({(answer.status, answer.text) for answer in answers}) == 1
