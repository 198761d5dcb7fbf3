"""Every site over HTTPS: its front page, its names, its redirects, and what it must not show."""

from __future__ import annotations

import html

import pytest

from tests.acceptance import lab_target
from tests.acceptance.summary import Site, Summary
from tests.acceptance.web import Client, plain_request

# None of these is anybody's business. Most are no files, and it is who says so that shows the rule: without it PHP or
# the http-server would be asked. With real files the same is tested by FTP.
HIDDEN = ("/.htaccess", "/.env", "/.git/config", "/.slipway-core.json", "/wp-content/.hidden")
DUMPS = ("/backup.sql", "/dump.sql.gz", "/site.tar.gz", "/wp-content/debug.log", "/index.php.bak", "/index.php~")
WORDPRESS_DENIED = (
    *("/wp-config.php", "/wp-config.php.bak", "/wp-config-sample.php", "/readme.html", "/license.txt"),
    *("/wp-admin/install.php", "/wp-admin/install.php?step=1", "/wp-admin/setup-config.php"),
    *("/wp-content/uploads/shell.php", "/wp-content/uploads/2026/01/shell.php5", "/wp-content/uploads/shell.phtml"),
    *("/wp-includes/version.php", "/wp-includes/class-wp.php", "/no-such-file.php"),
)


def test_the_front_page_has_its_title(site: Site, client: Client) -> None:
    page = client.get("/")
    assert page.status == 200
    assert page.title
    if site.type == "wordpress":
        name = html.unescape(client.get("/index.php?rest_route=/").json()["name"])
        assert name in page.title


@pytest.mark.lab
def test_the_title_is_the_one_of_the_inventory(wordpress_site: Site, wordpress_client: Client) -> None:
    assert lab_target.sites()[wordpress_site.name]["title"] in wordpress_client.get("/").title


def test_every_name_of_the_site_leads_to_it(site: Site, summary: Summary, client: Client) -> None:
    """The certificate says which names there are; an alias may send visitors on to the main one."""
    names = client.certificate().names
    assert site.domain in names
    assert names == summary.names.get(site.name, names)
    for name in names:
        answer = Client(site, summary.ca_certificate, name).get("/")
        moved = answer.status in (301, 302) and answer.location.rstrip("/") == site.url
        assert answer.status == 200 or moved, f"{name}: {answer.status} {answer.location}"


def test_http_leads_to_https(site: Site, summary: Summary) -> None:
    for name in summary.names.get(site.name, [site.domain]):
        answer = plain_request(site.address, name, "/a/path?with=a&query")
        assert answer.status == 301
        assert answer.location == site.url.replace(site.domain, name) + "/a/path?with=a&query"


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
    assert [path for path in HIDDEN + DUMPS if not denied(client, path)] == []


def test_what_wordpress_keeps_for_itself_is_denied(wordpress_client: Client) -> None:
    assert [path for path in WORDPRESS_DENIED if not denied(wordpress_client, path)] == []


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
    """Scripts, styles and images of the page itself, all of them by the web server."""
    page = client.get("/").text
    wanted = {part.split('"')[0] for part in page.split(f'"{site.url}')[1:]}
    files = sorted(path for path in wanted if path.split("?")[0].endswith((".css", ".js", ".png", ".svg", ".webp")))
    assert site.type == "static" or files
    got = {path: client.get(html.unescape(path)).status for path in files}
    assert got == dict.fromkeys(got, 200)
