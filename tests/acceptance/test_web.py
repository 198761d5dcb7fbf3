"""Every site over HTTPS: its front page, its names, its redirects, and what it must not show."""

from __future__ import annotations

import html
from collections.abc import Iterator
from functools import partial

import pytest

from tests.acceptance import lab_target
from tests.acceptance.machine import Machine
from tests.acceptance.pressure import MB, deaths, download, served_meanwhile, upload
from tests.acceptance.summary import Site, Summary
from tests.acceptance.web import Client, plain_request

# None of these is anybody's business. Most are no files, and it is who says so that shows the rule: without it PHP or
# the http-server would be asked. With real files the same is tested by FTP.
HIDDEN = ("/.htaccess", "/.env", "/.git/config", "/.slipway-core.json", "/wp-content/.hidden")
LEFTOVERS = ("/backup.sql", "/dump.sql.gz", "/dump.sql.bz2", "/index.html.bak", "/index.html~", "/x.dump")
WORDPRESS_DENIED = (
    *("/wp-config.php", "/wp-config.php.bak", "/wp-config-sample.php", "/readme.html", "/license.txt"),
    *("/wp-admin/install.php", "/wp-admin/install.php?step=1", "/wp-admin/setup-config.php"),
    *("/wp-content/uploads/shell.php", "/wp-content/uploads/2026/01/shell.php5", "/wp-content/uploads/shell.phtml"),
    *("/wp-includes/version.php", "/wp-includes/class-wp.php", "/no-such-file.php", "/xmlrpc.php"),
    *("/wp-content/debug.log", "/site.tar.gz", "/blog-db.gz", "/blog.wpress", "/php.ini"),
    *("/wp-content/updraft/backup-db.gz", "/wp-content/uploads/woocommerce_uploads/book.pdf"),
    *("/wp-content/languages/x.php", "/wp-content/mu-plugins/x.php", "/wp-content/plugins/akismet/readme.txt"),
)


def test_the_front_page_is_served(site: Site, client: Client) -> None:
    """What is on it is its owner's business: a static page needs no title, and plugins write WordPress's own."""
    page = client.get("/")
    assert page.status == 200
    assert site.type == "static" or page.title


@pytest.mark.lab
def test_the_title_is_the_one_of_the_inventory(wordpress_site: Site, wordpress_client: Client) -> None:
    assert lab_target.sites()[wordpress_site.name]["title"] in wordpress_client.get("/").title


def test_every_name_of_the_site_leads_to_it(site: Site, summary: Summary, client: Client) -> None:
    """The certificate says which names there are; an alias sends visitors on to the main one."""
    names = client.certificate().names
    assert site.domain in names
    assert names == summary.names.get(site.name, names)
    for name in names:
        answer = Client(site, summary.ca_certificate, name).get("/a/path?with=a&query" if name != site.domain else "/")
        wanted = (301, f"{site.url}/a/path?with=a&query") if name != site.domain else (200, "")
        assert (answer.status, answer.location) == wanted, name


def test_http_leads_to_https(site: Site, summary: Summary) -> None:
    for name in summary.names.get(site.name, [site.domain]):
        answer = plain_request(site.address, name, "/a/path?with=a&query")
        assert answer.status == 301
        assert answer.location == site.url + "/a/path?with=a&query"


def test_http_for_an_unknown_name_gets_no_answer(site: Site) -> None:
    with pytest.raises(ConnectionError):
        plain_request(site.address, "nobody.example.invalid", "/")


def test_answers_tell_no_versions(client: Client) -> None:
    answer = client.get("/")
    assert answer.headers.get("Server", "") == "nginx"
    assert "X-Powered-By" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def denied(client: Client, path: str) -> bool:
    """Tell whether nginx itself says that there is no such page."""
    answer = client.get(path)
    return answer.status == 404 and answer.title == "404 Not Found" and "<center>nginx</center>" in answer.text


def test_hidden_files_and_dumps_are_denied(client: Client) -> None:
    assert [path for path in HIDDEN + LEFTOVERS if not denied(client, path)] == []


def test_what_wordpress_keeps_for_itself_is_denied(wordpress_client: Client) -> None:
    assert [path for path in WORDPRESS_DENIED if not denied(wordpress_client, path)] == []


@pytest.fixture
def page(machine: Machine, wordpress_site: Site, mark: str) -> Iterator[str]:
    """Return the path of a program in a site's web root: it makes a link, or sends many bytes."""
    root = machine.web_root(wordpress_site)
    owner = machine.run(f"stat -c %u:%g {root}")
    machine.feed(f"cat >{root}/{mark}.php && chown {owner} {root}/{mark}.php", PROGRAM)
    yield f"/{mark}.php"
    machine.run(f"rm -f {root}/{mark}*")


PROGRAM = """<?php
if (isset($_GET['to'])) { echo symlink($_GET['to'], $_GET['link']) ? 'made' : 'not made'; exit; }
set_time_limit(0);
for ($mb = 0; $mb < (int) $_GET['mb']; $mb++) { echo str_repeat("0123456789abcde\n", 65536); }
"""


@pytest.mark.writes
def test_a_site_reads_nothing_of_others_by_a_link(
    summary: Summary, wordpress_site: Site, wordpress_client: Client, page: str, mark: str
) -> None:
    """As any PHP of a site can make it: to its own key, its neighbours, the system and the server's configuration."""
    others = [site for site in summary.sites if site.name != wordpress_site.name]
    targets = ["/etc/passwd", f"/etc/slipway/tls/{wordpress_site.name}.key", "/etc/slipway/tls/ftp.key"]
    for site in others:
        wordpress = site.type == "wordpress"
        root = f"/var/www/{site.name}/public" if wordpress else f"/srv/slipway/static/{site.name}/public"
        targets += [f"{root}/{'wp-content/object-cache.php' if wordpress else 'index.html'}", root]
        targets += [f"/etc/slipway/nginx/sites/{site.name}.conf", f"/etc/slipway/tls/{site.name}.key"]
    for number, target in enumerate(targets):
        name = f"{mark}-{number}.txt"
        assert wordpress_client.get(f"{page}?to={target}&link={name}").text == "made"
        path = f"/{name}/wp-content/object-cache.php" if target.endswith("/public") else f"/{name}"
        answer = wordpress_client.get(path)
        # WordPress's own page for what isn't there, or nginx's.
        assert answer.status in (403, 404), target
        assert not [word for word in ("PRIVATE KEY", "root:x:0", "ssl_certificate", "<?php") if word in answer.text]


@pytest.mark.writes
@pytest.mark.slow
def test_large_bodies_and_answers_leave_the_others_alone(
    machine: Machine, summary: Summary, wordpress_site: Site, wordpress_client: Client, page: str
) -> None:
    """Nobody has to log in for them; what nginx has not passed on yet lies on its disk."""
    neighbour = Client(next(s for s in summary.sites if s != wordpress_site), summary.ca_certificate)
    before = deaths(machine)
    work = [partial(upload, wordpress_client, "/index.php", 60 * MB, 8 * MB) for _ in range(2)]
    work.append(partial(download, wordpress_client, f"{page}?mb=150", 4 * MB))
    (first, second, size), meanwhile = served_meanwhile(neighbour, work)
    assert {first, second} <= {200, 301, 404, 413}
    assert isinstance(size, int)
    assert size > 150 * 1024 * 1024
    assert set(meanwhile) == {200}
    assert deaths(machine) == before


def test_an_embed_may_be_framed_and_the_rest_may_not(wordpress_client: Client) -> None:
    (post,) = wordpress_client.get("/index.php?rest_route=/wp/v2/posts&per_page=1").json()
    link = post["link"].removeprefix(wordpress_client.site.url)
    assert wordpress_client.get(f"{link}embed/").headers.get_all("X-Frame-Options") is None
    for path in (link, "/", "/wp-login.php"):
        assert wordpress_client.get(path).headers.get_all("X-Frame-Options") == ["SAMEORIGIN"]
    assert len(wordpress_client.get("/wp-login.php").headers.get_all("Referrer-Policy") or []) == 1


# What generators of sites make, and what is asked for.
GENERATED = {
    "about.html": "<title>about</title>",
    "404.html": "<title>our own</title>",
    "notes.txt": "Übung",
    "app.mjs": "1",
    "site.webmanifest": "{}",
    "download/tool.tar.gz": "tool",
    "download/sample.conf": "sample",
    ".well-known/security.txt": "security",
}
ANSWERS = {
    "/about": (200, "<title>about</title>", "text/html; charset=utf-8"),
    "/nothing": (404, "<title>our own</title>", "text/html; charset=utf-8"),
    "/notes.txt": (200, "Übung", "text/plain; charset=utf-8"),
    "/app.mjs": (200, "1", "javascript"),
    "/site.webmanifest": (200, "{}", "application/manifest+json"),
    "/download/tool.tar.gz": (200, "tool", ""),
    "/download/sample.conf": (200, "sample", ""),
    "/.well-known/security.txt": (200, "security", "text/plain"),
}


@pytest.mark.writes
def test_a_static_site_is_served_as_its_generator_made_it(
    machine: Machine, static_site: Site, summary: Summary
) -> None:
    """The same by nginx and by http-server."""
    root = f"/srv/slipway/static/{static_site.name}/public"
    there = [path for path in GENERATED if machine.host.run(f"test -e {root}/{path}").rc == 0]
    client = Client(static_site, summary.ca_certificate)
    try:
        for path, content in GENERATED.items():
            if path not in there:
                machine.feed(f"mkdir -p $(dirname {root}/{path}) && cat >{root}/{path}", content)
        for path, (status, text, kind) in ANSWERS.items():
            answer = client.get(path)
            assert answer.status == status, path
            assert kind in answer.headers.get("Content-Type", "").lower(), path
            assert text == answer.text or path.lstrip("/") in there, path
    finally:
        machine.run(f"cd {root} && rm -f {' '.join(path for path in GENERATED if path not in there)}")
        machine.run(f"cd {root} && rmdir download .well-known 2>/dev/null || true")


def test_a_missing_page_is_the_sites_own_404(wordpress_client: Client) -> None:
    answer = wordpress_client.get("/no/such/page/")
    assert answer.status == 404
    assert "wp-content" in answer.text


def test_the_administration_asks_who_one_is(wordpress_site: Site, wordpress_client: Client) -> None:
    answer = wordpress_client.get("/wp-admin/")
    assert answer.status == 302
    assert answer.location.startswith(f"{wordpress_site.url}/wp-login.php")
    assert wordpress_client.get("/wp-login.php").status == 200


def test_what_the_front_page_needs_is_served(site: Site, client: Client) -> None:
    """Scripts, styles and images of the page itself, all of them by the web server.

    A static page may lead nowhere, as its owner wrote it; but what is there isn't refused.
    """
    page = client.get("/").text
    wanted = {part.split('"')[0] for part in page.split(f'"{site.url}')[1:]}
    files = sorted(path for path in wanted if path.split("?")[0].endswith((".css", ".js", ".png", ".svg", ".webp")))
    assert site.type == "static" or files
    got = {path: client.get(html.unescape(path)).status for path in files}
    missing = {404} if site.type == "static" else set()
    assert {path: status for path, status in got.items() if status not in {200} | missing} == {}
