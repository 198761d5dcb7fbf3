"""The rendered configuration of nginx, asked: a real nginx of each release serves by it."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from plugins.filter.slipway_sites import nginx_fault
from tests.acceptance.waiting import wait_until
from tests.parsers import parsers_with
from tests.rendered import DEBIAN, FEW, HOSTS, Host, Platform, marks
from tests.repository import ROOT, load
from tests.serving import Served, serving
from tests.unit.refusing import refusal
from tools.parsers import PACKAGES

BLOG, JOURNAL, DOCS, MANUAL = (f"{name}.example.test" for name in ("blog", "journal", "docs", "manual"))
ALIAS = "www.blog.example.test"


def hosts(which: Callable[[Host], bool]) -> list[object]:
    return [pytest.param(host, id=host.name, marks=marks(host)) for host in HOSTS if which(host)]


def differs(host: Host) -> bool:
    """Tell whether a host has a provider, a family or a release of nginx that none before it has."""
    return (host in FEW and not host.ipv4) or (host.platform, host.provider) == (
        Platform("Debian 12", "systemd"),
        "native",
    )


@pytest.fixture(scope="module", params=hosts(differs))
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(request.param) as made:
        yield made


@pytest.fixture(scope="module", params=hosts(lambda host: host.away))
def away(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Return a host with every port, path, uid and address away from its default, behind a proxy."""
    with serving(request.param) as made:
        yield made


# What a site's user may reach by links.


SECRET = "a neighbour's secret"
WAYS = ("link.txt", "link.css", "link.php", "link", "wp-content/uploads/link.jpg", ".well-known/link", "link.html")


def secrets(served: Served) -> dict[str, object]:
    neighbour = served.write("journal", "wp-content/object-cache.php", f"<?php // {SECRET}")
    static = served.write("docs", "secret.html", SECRET)
    (key,) = served.stage.files(r".*/blog\.key")
    (config,) = served.stage.files(r".*/sites/journal\.conf")
    passwd = served.stage.parsers.root / "etc/passwd"
    return {"neighbour": neighbour, "static": static, "key": key, "config": config, "passwd": passwd}


@pytest.mark.parametrize("what", ["neighbour", "static", "key", "config", "passwd"])
def test_a_site_reads_nothing_of_others_by_a_link(served: Served, what: str) -> None:
    target = secrets(served)[what]
    text = target.read_text()  # type: ignore[attr-defined]
    for way in WAYS:
        served.link("blog", way, target)  # type: ignore[arg-type]
        try:
            answer = served.ask(BLOG, f"/{way}")
        finally:
            (served.root("blog") / way).unlink()
        # What isn't there is WordPress's to answer.
        assert text[:40] not in answer.text, (way, answer.status)
        assert answer.status in (200, 403, 404)
        assert answer.status != 200 or answer.json()["SCRIPT_NAME"] == "/index.php"


def test_a_site_reads_nothing_of_others_by_a_linked_folder(served: Served) -> None:
    found = secrets(served)
    served.link("blog", "all", served.stage.outside)
    try:
        for target in found.values():
            if served.stage.outside not in target.parents:  # type: ignore[attr-defined]
                continue
            path = target.relative_to(served.stage.outside)  # type: ignore[attr-defined]
            answer = served.ask(BLOG, f"/all/{path}")
            assert SECRET not in answer.text
            assert answer.status != 200 or answer.json()["SCRIPT_NAME"] == "/index.php"
    finally:
        (served.root("blog") / "all").unlink()


def test_a_link_to_the_sites_own_file_is_followed(served: Served) -> None:
    served.write("blog", "own.txt", "its own")
    served.link("blog", "again.txt", served.root("blog") / "own.txt")
    assert served.ask(BLOG, "/again.txt").text == "its own"


def test_a_static_site_leads_nowhere_by_a_link(served: Served) -> None:
    """Links come with git and archives, and are root's there as all else is."""
    for target in (served.stage.parsers.root / "etc/passwd", *served.stage.files(r".*/blog\.key")):
        served.link("docs", "link.txt", target)
        served.link("docs", "folder", target.parent)
        answers = [served.ask(DOCS, path) for path in ("/link.txt", f"/folder/{target.name}")]
        assert [answer.status for answer in answers] == [404, 404]
        assert not [answer for answer in answers if target.read_text()[:40] in answer.text]
    for name in ("link.txt", "folder"):
        (served.root("docs") / name).unlink()


# Who is asked for.


def test_a_foreign_host_inside_of_a_session_gets_no_page(served: Served) -> None:
    for host in ("evil.test", DOCS + ".evil.test"):
        with pytest.raises(OSError, match=r"RemoteDisconnected|reset"):
            served.ask(BLOG, "/", {"Host": host})
    with served.connect(BLOG) as secure:
        secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert secure.recv(100) == b""


def test_an_alias_leads_to_the_domain_for_every_path(served: Served) -> None:
    for path in ("/", "/a/path?with=a&query", "/wp-login.php", "/wp-content/x.css", "/.well-known/security.txt"):
        for plain in (False, True):
            answer = served.ask(ALIAS, path, plain=plain)
            assert (answer.status, answer.location) == (301, f"https://{BLOG}{path}")


def test_what_proves_an_alias_is_asked_for_by_that_alias(served: Served) -> None:
    path = "/.well-known/acme-challenge/token"
    served.write("blog", path[1:], "proof")
    assert served.ask(ALIAS, path, plain=True).location == f"https://{ALIAS}{path}"
    assert served.ask(ALIAS, path).text == "proof"


def test_php_is_told_who_was_asked_for(served: Served) -> None:
    told = served.told(BLOG, "/a/page?x=1", {"Proxy": "evil", "X-Forwarded-For": "192.0.2.99"})
    wanted = {
        "HTTP_HOST": BLOG,
        "SERVER_NAME": BLOG,
        "SERVER_PORT": "443",
        "HTTPS": "on",
        "REQUEST_SCHEME": "https",
        "REQUEST_URI": "/a/page?x=1",
        "QUERY_STRING": "x=1",
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/index.php",
        "DOCUMENT_URI": "/index.php",
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "GATEWAY_INTERFACE": "CGI/1.1",
    }
    assert {key: told.get(key) for key in wanted} == wanted
    assert told["SCRIPT_FILENAME"] == f"{told['DOCUMENT_ROOT']}/index.php"
    assert not told.get("HTTP_PROXY")


@pytest.mark.parametrize("target", ["https://evil.test/", f"https://{BLOG}:99/"])
def test_a_host_in_the_request_line_deceives_nobody(served: Served, target: str) -> None:
    with served.connect(BLOG) as secure:
        secure.sendall(f"GET {target} HTTP/1.1\r\nHost: {BLOG}\r\nConnection: close\r\n\r\n".encode())
        with secure.makefile("rb") as answer:
            text = answer.read().decode()
    assert "evil" not in text
    assert ":99" not in text


def test_plain_http_on_the_port_of_https_is_led_to_https(served: Served) -> None:
    def plain(host: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", served.https, timeout=20)
        connection.request("GET", "/x?y=1", headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, str(answer.headers["Location"])

    for name in (BLOG, ALIAS, DOCS):
        assert plain(name) == (301, f"https://{BLOG if name == ALIAS else name}/x?y=1")
    # Whose name is none of ours gets nothing at all.
    with pytest.raises(http.client.RemoteDisconnected):
        plain("nobody.example.test")


# Another port, and a proxy in front.


def test_https_on_another_port_keeps_it(away: Served, request: pytest.FixtureRequest) -> None:
    host: Host = request.node.callspec.params["away"]
    port = host.variables["nginx_tls_https_port"]
    told = away.told(BLOG, "/", {"Host": f"{BLOG}:{port}"})
    assert (told["HTTP_HOST"], told["SERVER_PORT"]) == (f"{BLOG}:{port}", str(port))
    # So is what the other server behind nginx is told.
    assert away.ask(MANUAL, "/", {"Host": f"{MANUAL}:{port}"}).json()["Host"] == f"{MANUAL}:{port}"
    away.write("docs", "sub/index.html")
    away.write("blog", "wp-admin/index.php", "<?php")
    for name, path in ((DOCS, "/sub"), (BLOG, "/wp-admin")):
        answer = away.ask(name, path, {"Host": f"{name}:{port}"})
        assert answer.status == 301
        assert answer.location in (f"{path}/", f"https://{name}:{port}{path}/")
    assert away.ask(BLOG, "/x", plain=True).location == f"https://{BLOG}:{port}/x"
    assert away.ask(ALIAS, "/x").location == f"https://{BLOG}:{port}/x"


def test_a_trusted_proxy_tells_who_the_visitor_is(away: Served) -> None:
    # The last is the proxy's word, what stands before it anybody's.
    headers = {"X-Forwarded-For": "198.51.100.9, 192.0.2.99"}
    assert away.told(BLOG, "/", headers)["REMOTE_ADDR"] == "192.0.2.99"
    assert away.ask(MANUAL, "/", headers).json()["X-Forwarded-For"] == "192.0.2.99"

    def tries(visitor: str, count: int) -> list[int]:
        sent = {"X-Forwarded-For": visitor}
        return [away.ask(BLOG, "/wp-login.php", sent, "POST", b"x=1").status for _ in range(count)]

    away.write("blog", "wp-login.php", "<?php")
    assert 429 in tries("192.0.2.1", 40)
    assert tries("192.0.2.2", 1) == [200]
    # A visitor with IPv6 has a whole network.
    assert 429 in [tries(f"2001:db8:1:2:{number:x}::1", 1)[0] for number in range(40)]
    assert tries("2001:db8:1:3::1", 1) == [200]
    assert tries("2001:db9::1", 1) == [200]


# What is not for everybody.


PRIVATE = (
    *(
        f"/wp-content/{name}/x.zip"
        for name in ("updraft", "ai1wm-backups", "backups-dup-lite", "backwpup-1a2b-backups")
    ),
    *(f"/wp-content/uploads/{name}/book.pdf" for name in ("woocommerce_uploads", "edd", "dlm_uploads", "wc-logs")),
    *("/wp-content/updraft/sub/x.jpg", "/wp-content/upgrade-temp-backup/plugins/x.js", "/wp-content/wflogs/x.css"),
)
DUMPS = (
    *(f"/{name}" for name in ("x.sql", "x.sql.gz", "x.sql.bz2", "x.sql.zip", "x-db.gz", "blog.wpress", "x.jpa")),
    *(f"/wp-content/{name}" for name in ("x.tar", "x.tar.gz", "x.tgz", "x.bak", "x.sql.zst", "debug.log", "x.SQL.GZ")),
    *("/db.sql-2026", "/x.sql.1", "/x.sql.gz.1", "/x.sql.gpg", "/x.tar.gz.part", "/index.php_", "/index.php.rej"),
    *("/index.inc", "/site.bkp", "/x.pem", "/x.env", "/id_rsa", "/error_log", "/composer.lock", "/wp-cli.yml"),
    *("/wp-config.php~", "/index.php.bak", "/index.php.bak2", "/.user.ini", "/php.ini", "/x.dump", "/dump.7z"),
)
PROGRAMS = tuple(
    f"/wp-content/{path}"
    for path in (
        *("languages/x.php", "fonts/x.php", "mu-plugins/x.php", "upgrade-temp-backup/x.php", "blogs.dir/x.php"),
        *("uploads/x.php", "uploads/2026/x.PHP5", "uploads/x.phtml", "cache/x.phar", "x.php", "uploads/x.pht"),
    )
)
KEPT = (
    *("/xmlrpc.php", "/wp-config.php", "/wp-admin/install.php", "/readme.html"),
    *("/wp-content/plugins/akismet/readme.txt", "/wp-content/themes/x/changelog.md", "/plugin.phtml"),
)
SHOWN = (
    *("/wp-content/uploads/tool.zip", "/wp-content/uploads/2026/01/backup-plan.pdf", "/sitemap.xml.gz", "/ads.txt"),
    *("/torch.save.html", "/pickle.dump.html", "/schema.sql.md", "/wp-content/uploads/photo.old.jpg", "/json.dump.js"),
    *("/wp-content/uploads/backuptool/x.jpg", "/robots.txt", "/wp-content/plugins/x/readme.png"),
)


@pytest.mark.parametrize("paths", [PRIVATE, DUMPS, PROGRAMS, KEPT], ids=["private", "dumps", "programs", "kept"])
def test_what_is_not_for_everybody_is_denied_on_wordpress(served: Served, paths: tuple[str, ...]) -> None:
    """Real files, so that it is the rule that hides them."""
    got = {}
    for path in paths:
        served.write("blog", path[1:], "shown")
        answer = served.ask(BLOG, path)
        got[path] = answer.status if "<center>nginx</center>" in answer.text else 0
    assert got == dict.fromkeys(paths, 404)


@pytest.mark.parametrize("path", ["wp-content/uploads/a\nb/x.php", "wp-includes/a\nb/x.php", "#page.php#", "x.sql\n"])
def test_no_sign_in_a_name_opens_what_is_denied(served: Served, path: str) -> None:
    served.write("blog", path, "<?php echo 'ran';")
    answer = served.ask(BLOG, "/" + quote(path))
    assert (answer.status, "<center>nginx</center>" in answer.text) == (404, True)


def test_what_is_for_everybody_is_served(served: Served) -> None:
    for path in SHOWN:
        served.write("blog", path[1:], "shown")
    assert {path: served.ask(BLOG, path).text for path in SHOWN} == dict.fromkeys(SHOWN, "shown")
    for path in ("/wp-content/plugins/x/ajax.php", "/wp-content/themes/x/style.php"):
        served.write("blog", path[1:], "<?php echo 'ran';")
        assert served.ask(BLOG, path).text == "ran"


def test_each_header_comes_once_and_the_page_has_the_last_word(served: Served) -> None:
    def sent(path: str) -> dict[str, list[str]]:
        found = served.ask(BLOG, path).headers
        names = ("X-Frame-Options", "Referrer-Policy", "X-Content-Type-Options", "Permissions-Policy")
        return {name: found.get_all(name) or [] for name in names}

    ours = sent("/")
    assert ours["X-Frame-Options"] == ["SAMEORIGIN"]
    assert ours["X-Content-Type-Options"] == ["nosniff"]
    assert {len(values) for values in ours.values()} == {1}
    theirs = sent("/?header[]=X-Frame-Options:+DENY&header[]=Referrer-Policy:+no-referrer")
    assert theirs["X-Frame-Options"] == ["DENY"]
    assert theirs["Referrer-Policy"] == ["no-referrer"]
    assert {len(values) for values in theirs.values()} == {1}


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/hello-world/embed/", None),
        ("/hello-world/embed", None),
        ("/hello-world/?embed=true", None),
        ("/?p=1&embed=true", None),
        ("/hello-world/", "SAMEORIGIN"),
        ("/embedding/", "SAMEORIGIN"),
        ("/wp-admin/x/embed/", "SAMEORIGIN"),
        ("/wp-login.php?embed=true", "SAMEORIGIN"),
        ("/?x=/embed/", "SAMEORIGIN"),
    ],
)
def test_only_an_embed_may_be_framed_by_anybody(served: Served, path: str, wanted: str | None) -> None:
    served.write("blog", "wp-login.php", "<?php")
    assert served.ask(BLOG, path).headers.get("X-Frame-Options") == wanted


# Static sites as generators make them.


PAGES = {
    "about.html": "about",
    "guide.html": "guide",
    "guide/first.html": "first",
    "404.html": "our own 404",
    "sub/index.html": "sub",
    "empty/x.txt": "x",
    "notes.txt": "Übung",
    "app.mjs": "1",
    "site.webmanifest": "{}",
    "style.css": "a{}",
    "download/tool.tar.gz": "tool",
    "download/sample.conf": "sample",
    "build.log": "log",
    ".well-known/security.txt": "security",
}


@pytest.fixture
def pages(served: Served) -> Iterator[Served]:
    for path, content in PAGES.items():
        served.write("docs", path, content)
    yield served
    for path in PAGES:
        (served.root("docs") / path).unlink()


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/about", 200, "about"),
        ("/about.html", 200, "about"),
        ("/guide", 200, "guide"),
        ("/guide/first", 200, "first"),
        ("/sub/", 200, "sub"),
        ("/nothing", 404, "our own 404"),
        ("/nothing/at/all.png", 404, "our own 404"),
        ("/empty/", 404, "our own 404"),
        ("/download/tool.tar.gz", 200, "tool"),
        ("/download/sample.conf", 200, "sample"),
        ("/build.log", 200, "log"),
        ("/.well-known/security.txt", 200, "security"),
    ],
)
def test_a_static_site_is_served_as_its_generator_made_it(pages: Served, path: str, status: int, text: str) -> None:
    answer = pages.ask(DOCS, path)
    assert (answer.status, answer.text) == (status, text)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/about", "text/html; charset=utf-8"),
        ("/notes.txt", "text/plain; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.mjs", "text/javascript; charset=utf-8"),
        ("/site.webmanifest", "application/manifest+json"),
    ],
)
def test_types_are_those_that_browsers_want(pages: Served, path: str, wanted: str) -> None:
    assert pages.ask(DOCS, path).headers["Content-Type"] == wanted


@pytest.mark.parametrize("path", ["/.git/config", "/x.sql", "/x.sql.gz", "/index.html~", "/index.html.bak"])
def test_a_static_site_shows_no_leftovers_either(served: Served, path: str) -> None:
    served.write("docs", path[1:], "shown")
    assert served.ask(DOCS, path).status == 404


# Limits.


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """Return a header field that no table has (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def test_requests_that_are_reset_at_once_don_t_fill_the_queue(served: Served) -> None:
    """FPM works off all that reaches it, so no more than an address may have under way gets there."""
    count = served.root("blog") / "count"
    inside = f"{served.stage.inside}/{count.relative_to(served.stage.outside)}"
    with served.connect(BLOG, "h2") as secure:
        assert secure.selected_alpn_protocol() == "h2"
        secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        for number in range(120):
            fields = {":method": "GET", ":scheme": "https", ":authority": BLOG, ":path": f"/?wait=200&log={inside}"}
            block = b"".join(literal(*field) for field in fields.items())
            try:
                secure.sendall(frame(1, 5, 2 * number + 1, block) + frame(3, 0, 2 * number + 1, struct.pack(">I", 8)))
            except OSError:
                # It hangs up on whoever only resets.
                break
            # As a client that waits for the answer to begin, so that no frame is too much at once.
            time.sleep(0.001)
    sizes: list[int] = []

    def is_done() -> bool:
        sizes.append(count.stat().st_size)
        return len(sizes) > 5 and len(set(sizes[-5:])) == 1

    wait_until("all that reached PHP is worked off", is_done, 60, pause=0.2)
    # Forty at a time, and the few that end meanwhile.
    assert 0 < sizes[-1] <= 60
    count.unlink()


def test_a_flood_is_refused_and_doesn_t_flood_the_log(served: Served) -> None:
    served.write("journal", "wp-login.php", "<?php")

    def attempt(_: int) -> int:
        return served.ask(JOURNAL, "/wp-login.php", method="POST", body=b"x=1").status

    before = len(served.log("access").splitlines())
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(attempt, range(120)))
    refused = got.count(429)
    assert refused >= 60
    assert set(got) == {200, 429}
    lines = served.log("access").splitlines()[before:]
    assert len([line for line in lines if '" 200 ' in line]) == len(got) - refused
    # One in a hundred.
    assert len([line for line in lines if '" 429 ' in line]) <= 12
    assert "limiting requests" not in served.log("error")


def test_the_longest_names_are_served(served: Served) -> None:
    """nginx refuses to start where one doesn't fit; the list of the tests has such a name."""
    assert any(len(name) > 150 for name in LONG)
    answer = served.ask(LONG[0], "/x")
    assert (answer.status, answer.location) == (301, f"https://{JOURNAL}/x")


LONG = [".".join(["a" * 60, "b" * 60, "c" * 60, "example.test"])]


def test_old_clients_get_no_http_2_by_force(served: Served) -> None:
    with served.connect(BLOG) as secure:
        assert secure.selected_alpn_protocol() == "http/1.1"
        assert isinstance(secure, ssl.SSLSocket)


def test_no_page_tells_the_number_of_its_file(served: Served) -> None:
    answer = served.ask(MANUAL, "/page")
    assert answer.status == 200
    assert answer.headers["Last-Modified"]
    assert "ETag" not in answer.headers


# The users' own settings.


def test_the_users_own_files_are_read(served: Served) -> None:
    """Those of http, with what they define, and those of a site of each type."""
    assert served.ask(BLOG, "/own?own=yes").text == "127.0.0.1"
    assert served.ask(BLOG, "/own").text == "none"
    assert [served.ask(name, "/own").text for name in (DOCS, MANUAL)] == ["docs", "manual"]


def test_the_sites_own_lines_are_read(served: Served) -> None:
    assert served.ask(BLOG, "/health").status == 204
    assert served.ask(BLOG, "/").headers.get_all("X-Own") == ["a; {b}"]
    assert served.ask(BLOG, "/").headers.get_all("X-Frame-Options") == ["SAMEORIGIN"]
    assert served.ask(JOURNAL, "/health").json()["SCRIPT_NAME"] == "/index.php"


def test_a_pattern_of_the_users_comes_before_php_and_after_what_is_never_served(served: Served) -> None:
    for path in ("private/page.php", "page.bak", "archive/x.sql"):
        served.write("blog", path, "content")
    assert served.ask(BLOG, "/private/page.php").status == 403
    assert served.ask(BLOG, "/page.bak").status == 404
    # A prefix that no pattern is asked after is the way to serve it.
    assert served.ask(BLOG, "/archive/x.sql").text == "content"


def fault_of(release: str, *lines: str, block: str = "") -> str:
    """Return what the nginx of a release has against lines of http, or of a block in it; empty if nothing."""
    parsers, nginx = parsers_with(release, "nginx")
    text = "\n".join(lines)
    with tempfile.NamedTemporaryFile("w", dir=parsers.root / "tmp", suffix=".conf") as file:
        file.write(f"events {{}}\nhttp {{\n{f'{block} {{\n{text}\n}}' if block else text}\n}}\n")
        file.flush()
        done = parsers.run(nginx, "-t", "-q", "-c", f"/tmp/{Path(file.name).name}")
    return done.stdout if done.returncode else ""


# What values of the template stand for; the lines of the others are as they are.
VALUES = {
    "client_max_body_size": "65m",
    "resolver": "127.0.0.11",
    "server_names_hash_bucket_size": "128",
    "server_names_hash_max_size": "512",
    "set_real_ip_from": "127.0.0.1",
    "ssl_ciphers": "HIGH",
    "ssl_ecdh_curve": "X25519",
    "ssl_protocols": "TLSv1.3",
}
# There may be several, each with another name in it.
SEVERAL = {"access_log", "include", "limit_conn_zone", "limit_req_zone"}
# A second one would add to ours, or take its place.
MIXED = {"ssl_protocols", "ssl_session_cache"}


@pytest.mark.parametrize("release", PACKAGES)
def test_the_role_knows_which_directives_are_its_own(release: str) -> None:
    """Those of which nginx takes no second one are those that nginx_tls_options doesn't take."""
    variables = load(ROOT / "roles/nginx_tls/vars/main.yml")
    own = {*variables["__nginx_tls_own_directives"], *variables["__nginx_tls_replaced_directives"]}
    template = (ROOT / "roles/nginx_tls/templates/nginx.conf.j2").read_text()
    found = dict(re.findall(r"^    ([a-z]\w*) ([^\n]*);$", template.partition("http {")[2], re.MULTILINE))
    assert found.keys() >= own | SEVERAL
    refused = set()
    for name in found.keys() - SEVERAL:
        value = VALUES.get(name, found[name].replace("{{ __nginx_tls_temp_dir }}", "/tmp"))
        line = f"{name} {value};"
        assert fault_of(release, line) == ""
        if "duplicate" in fault_of(release, line, line):
            refused.add(name)
    assert refused | MIXED == own


WHOLE = (
    "expires 1h;",
    "location = /x { return 204; }",
    'location ~ "^/x{2}$" { add_header A \';}\'; return 200 "it\'s \\"x\\""; }',
    "if ($host = a) { return 301 https://${host}x$request_uri; } # as ever {",
    "set $x it's; set $y a#b;",
    "\tgzip off;\t",
    "# nothing",
)
BROKEN = (
    "location ~ ^/x{2}$ { return 204; }",
    "expires 1h",
    "location = /x { return 204 }",
    "location = /x { return 204;",
    "location = /x { return 204; }}",
    "location = /x { return 204; # }",
    "return 200 'x;",
    'return 200 "x\\";',
    "; gzip off;",
    "{ }",
    "gzip off; \\",
)


@pytest.mark.parametrize("line", WHOLE)
def test_a_line_that_is_taken_is_one_to_nginx(line: str) -> None:
    assert [fault_of(release, line, block="server") for release in PACKAGES] == ["" for _ in PACKAGES]
    assert nginx_fault(line) == ""


@pytest.mark.parametrize("line", BROKEN)
def test_a_line_that_is_refused_is_none_to_nginx(line: str) -> None:
    assert all(fault_of(release, line, block="server") for release in PACKAGES)
    assert nginx_fault(line)


def test_a_line_stays_in_its_block() -> None:
    """nginx wouldn't notice."""
    line = "} server { listen 127.0.0.1:81;"
    assert [fault_of(release, line, block="server") for release in PACKAGES] == ["" for _ in PACKAGES]
    assert nginx_fault(line) == "it closes a block that it doesn't open"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"nginx_tls_options": {"etag": False, "gzip": False, "client_max_body_size": "1g"}},
            "nginx_tls_options: client_max_body_size, gzip is not allowed, because the role sets it; use"
            " nginx_tls_body_max, the directives of a site",
        ),
        ({"nginx_tls_options": {"etag": "on;"}}, "nginx_tls_options: etag: give what one directive takes"),
        (
            {"nginx_tls_sites": [{"name": "a"}, {"name": "docs", "directives": ["etag off;", "expires 1h"]}]},
            "nginx_tls_sites: the directive 'expires 1h' of docs is not allowed; a ';' is missing",
        ),
    ],
    ids=["one of the role's own", "more than a value", "a line without its end"],
)
def test_settings_that_can_t_work_are_refused(tmp_path: Path, variables: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, "nginx_tls", **variables)


# What a run does with what lies there.


@dataclass
class Configured:
    """A folder of this machine that the role configures in place of the host's, by a server that only takes notes."""

    folder: Path

    def run(self, *sites: str) -> str:
        """Return what a run with these sites prints, on one line; the server is told of a run in ``reloaded``."""
        (self.folder.parent / "reloaded").unlink(missing_ok=True)
        given = {
            "nginx_tls_sites": [
                {"name": name, "type": "static", "names": [f"{name}.test"], "certificate": name, "root": "/srv"}
                for name in sites
            ],
            "nginx_tls_challenges_dir": str(self.folder.parent / "challenges"),
            "__nginx_tls_config_dir": str(self.folder),
            "__nginx_tls_config_file": str(self.folder / "nginx.conf"),
            "__nginx_tls_check": f"test ! -e {self.folder}/custom/http/broken.conf",
            "__nginx_tls_reload": f"touch {self.folder.parent}/reloaded",
            # As of a server that runs.
            "__nginx_tls_pid": "/proc/self/stat",
            "__nginx_tls_pending": False,
        }
        files = [str(ROOT / f"roles/nginx_tls/vars/{name}.yml") for name in ("Debian", "native")]
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable, "ansible_facts": DEBIAN.facts},
            "vars_files": files,
            "tasks": [{"ansible.builtin.include_role": {"name": "nginx_tls", "tasks_from": "config"}}],
        }
        path = self.folder.parent / "play.json"
        path.write_text(json.dumps([play]))
        program = str(Path(sys.executable).parent / "ansible-playbook")
        done = subprocess.run(
            [program, "-i", "localhost,", "-e", json.dumps(given), str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return " ".join((done.stdout + done.stderr).split())

    def reloaded(self) -> bool:
        return (self.folder.parent / "reloaded").exists()


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    if os.geteuid():
        pytest.skip("the configuration is root's, and so is who writes it")
    return Configured(tmp_path / "nginx")


def test_the_users_own_files_are_loaded_and_left(configured: Configured) -> None:
    assert "failed=0" in configured.run("blog", "docs")
    assert configured.reloaded()
    http, blog, docs = (configured.folder / "custom" / name for name in ("http", "sites/blog", "sites/docs"))
    assert {path.stat().st_mode & 0o777 for path in (http.parent, http, blog.parent, blog, docs)} == {0o755}
    (blog / "own.conf").write_text("gzip off;")
    configured.run("blog", "docs")
    assert configured.reloaded()
    # The same file is another configuration elsewhere.
    (blog / "own.conf").rename(docs / "own.conf")
    configured.run("blog", "docs")
    assert configured.reloaded()
    (http / "broken.conf").write_text("x")
    assert "failed=1" in configured.run("blog", "docs")
    assert not configured.reloaded()
    (http / "broken.conf").unlink()
    # What an included file names has any name. Of a site that is gone the file stays.
    (http / "users").write_text("captain")
    assert "failed=0" in configured.run("blog")
    assert configured.reloaded()
    assert (docs / "own.conf").exists()


def test_of_the_sites_that_are_gone_only_ours_are_removed(configured: Configured) -> None:
    sites = configured.folder / "sites"
    sites.mkdir(parents=True)
    (sites / "foreign.conf").write_text("server { listen 81; }")
    (sites / "gone.conf").write_text("# Written by Slipway; changes are overwritten.\n")
    said = configured.run("docs")
    assert sorted(path.name for path in sites.iterdir()) == ["docs.conf", "foreign.conf"]
    assert f"[WARNING]: {sites}/foreign.conf: not written by Slipway, and not included" in said
    main = (configured.folder / "nginx.conf").read_text()
    assert re.findall(r"include \S*/sites/(\S*);", main) == ["docs.conf"]


def test_files_that_not_only_root_can_change_are_refused(configured: Configured) -> None:
    folder = configured.folder / "custom/sites/docs"
    folder.mkdir(parents=True)
    for name, mode in (("good.conf", 0o640), ("group.conf", 0o664), ("others.conf", 0o646), ("owner.conf", 0o644)):
        (folder / name).write_text("gzip off;")
        (folder / name).chmod(mode)
    os.chown(folder / "owner.conf", 20001, 0)
    (folder / "link.conf").symlink_to("good.conf")
    said = configured.run("docs")
    found = re.search(r"(\S+(?:, \S+)*): not allowed here", said)
    assert found
    assert {Path(path).stem for path in found[1].split(", ")} == {"group", "others", "owner", "link"}


def test_there_are_hosts_of_each_kind() -> None:
    assert {host.provider for host in FEW} == {"compose", "native"}
    assert {host.provider for host in HOSTS if host.away} == {"compose", "native"}
