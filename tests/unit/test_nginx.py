"""The rendered configuration of nginx, asked: a real nginx of each release serves by it."""

from __future__ import annotations

import ssl
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.waiting import wait_until
from tests.rendered import FEW, HOSTS, Host, Platform, marks
from tests.serving import Served, serving

BLOG, JOURNAL, DOCS, MANUAL = (f"{name}.example.test" for name in ("blog", "journal", "docs", "manual"))
ALIAS = "www.blog.example.test"


def hosts(which: Callable[[Host], bool]) -> list[object]:
    return [pytest.param(host, id=host.name, marks=marks(host)) for host in HOSTS if which(host)]


def differs(host: Host) -> bool:
    """Tell whether a host has a provider, a family or a release of nginx that none before it has."""
    return host in FEW or (host.platform, host.provider) == (Platform("Debian 12", "systemd"), "native")


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


def test_there_are_hosts_of_each_kind() -> None:
    assert {host.provider for host in FEW} == {"compose", "native"}
    assert {host.provider for host in HOSTS if host.away} == {"compose", "native"}
