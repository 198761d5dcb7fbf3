from __future__ import annotations

import shlex
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.acceptance.killing import kill_each
from tests.acceptance.machine import Machine
from tests.acceptance.pressure import MB, deaths, idle, is_open, served_meanwhile, upload
from tests.acceptance.summary import Site
from tests.acceptance.web import Client, connect, plain_request
from tests.repository import ROOT
from tests.roles.services import starts_at_boot

# As in molecule/shared/vars/nginx_tls.yml.
BLOG = "/srv/blog/public"


@pytest.fixture
def client(machine: Machine, docs: Site) -> Client:
    return Client(docs, machine.summary.ca_certificate)


def test_the_site_is_served_by_a_name_the_ca_vouches_for(client: Client) -> None:
    answer = client.get("/")
    assert answer.status == 200
    assert answer.text == (ROOT / "examples/docs/index.html").read_text()


def test_an_alias_leads_to_the_first_name(machine: Machine, docs: Site) -> None:
    answer = Client(docs, machine.summary.ca_certificate, "www.docs.example.test").get("/page?x=1")
    assert (answer.status, answer.location) == (301, f"{docs.url}/page?x=1")


def test_plain_http_only_redirects(docs: Site) -> None:
    answer = plain_request(docs.address, docs.domain, "/page?x=1")
    assert answer.status in {301, 308}
    assert answer.location == f"{docs.url}/page?x=1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_is_spoken(client: Client, docs: Site, version: ssl.TLSVersion) -> None:
    context = client.context()
    context.minimum_version = context.maximum_version = version
    with connect(docs, context, docs.domain) as secure:
        assert secure.version() == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(client: Client, docs: Site) -> None:
    context = client.context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    # This side has to be willing, or the refusal would be its own.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    # An alert comes from the other side.
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        connect(docs, context, docs.domain)


@pytest.mark.parametrize("name", [None, "other.example.test"])
def test_a_name_it_doesn_t_serve_gets_no_handshake(client: Client, docs: Site, name: str | None) -> None:
    context = client.context()
    # This side would take any certificate.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        connect(docs, context, name)


DENIED = ("/wp-config.php", "/.git/config", "/wp-content/uploads/x.php", "/wp-includes/x.php", "/readme.html", "/x.sql")


@pytest.fixture
def files(machine: Machine) -> None:
    """Put real files into the web root of the WordPress site, so that it is the rule that hides them."""
    for path in (*DENIED, "/shown.txt"):
        machine.run(f"mkdir -p $(dirname {BLOG}{path}) && echo shown >{BLOG}{path}")
    machine.run(f"chmod -R a+rX {BLOG}")


@pytest.mark.usefixtures("files")
def test_what_no_visitor_needs_is_denied(machine: Machine, blog: Site) -> None:
    client = Client(blog, machine.summary.ca_certificate)
    assert client.get("/shown.txt").text == "shown\n"
    # PHP, which isn't there, would make it 502.
    assert {path: client.get(path).status for path in DENIED} == dict.fromkeys(DENIED, 404)


def test_a_foreign_host_inside_of_a_session_gets_no_page(client: Client) -> None:
    with pytest.raises(OSError, match=r"RemoteDisconnected|reset"):
        client.get("/", {"Host": "other.example.test"})


SECRET = "a neighbour's secret"


def test_a_link_leads_to_nothing_of_others(machine: Machine, blog: Site, docs: Site) -> None:
    """As the site's user makes it; what it leads to is read by nginx, but is not the user's."""
    machine.run(f"mkdir -p {BLOG}/../../journal && echo {shlex.quote(SECRET)} >{BLOG}/../../journal/secret.txt")
    static = "/srv/slipway/static/docs/public"
    targets = ["/etc/slipway/tls/docs.key", "/etc/slipway/nginx/sites/docs.conf", "/etc/passwd", f"{static}/index.html"]
    try:
        for number, target in enumerate(targets):
            machine.run(f"ln -s {target} {BLOG}/link-{number}.txt && chown -h 20001:20001 {BLOG}/link-{number}.txt")
        # Of a static site, whose files are root's as all else is.
        machine.run(f"ln -s /etc/passwd {static}/link.txt")
        client = Client(blog, machine.summary.ca_certificate)
        # PHP, which isn't there, would make it 502.
        assert {client.get(f"/link-{number}.txt").status for number in range(len(targets))} <= {403, 404, 502}
        assert Client(docs, machine.summary.ca_certificate).get("/link.txt").status in (403, 404)
    finally:
        machine.run(f"rm -rf {BLOG}/link-* {static}/link.txt {BLOG}/../../journal")


def test_what_strangers_send_kills_nobody(machine: Machine, client: Client, blog: Site) -> None:
    """Two bodies of almost the allowed size at a time: more than the server's memory."""
    stranger = Client(blog, machine.summary.ca_certificate)
    before = deaths(machine)
    # PHP isn't there: it is asked when all of the body came.
    done, meanwhile = served_meanwhile(
        client, [partial(upload, stranger, "/wp-login.php", 60 * MB, 8 * MB) for _ in range(2)]
    )
    assert done == [502, 502]
    assert set(meanwhile) == {200}
    assert deaths(machine) == before


def test_who_is_silent_keeps_nobody_out(machine: Machine, client: Client) -> None:
    """More connections than there may be; nginx closes idle ones for those that come."""
    before = deaths(machine)
    with idle(client, 1500) as silent:
        assert client.get("/").status == 200
        # Or all of them were refused, and nothing was tested.
        assert len([one for one in silent if is_open(one)]) > 100
    assert client.get("/").status == 200
    assert deaths(machine) == before


CUSTOM = "/etc/slipway/nginx/custom"
OWN = f"{CUSTOM}/sites/docs/own.conf"


@pytest.fixture
def own(machine: Machine, converge: Callable[..., str]) -> Iterator[Callable[[str], None]]:
    """Return what writes a file of the user's own for the static site; it is gone after the test."""

    def write(text: str) -> None:
        machine.feed(f"cat >{OWN} && chmod 0644 {OWN}", text)

    yield write
    machine.run(f"rm -f {OWN}")
    converge()


def test_the_inventorys_own_directives_count(client: Client) -> None:
    assert client.get("/health").status == 204
    assert "ETag" not in client.get("/").headers


def test_files_of_the_users_own_are_loaded_by_a_run(
    client: Client, own: Callable[[str], None], converge: Callable[..., str]
) -> None:
    for text in ("first", "second"):
        own(f"location = /own {{ return 200 {text}; }}\n")
        converge()
        assert client.get("/own").text == text
    # A run that has nothing to do leaves them alone, and so does one that recreates the container.
    assert "changed=0 " in converge()
    converge(nginx_tls_memory_mb=128)
    assert client.get("/own").text == "second"


def test_a_broken_file_fails_the_run_and_the_server_goes_on(
    client: Client, own: Callable[[str], None], converge: Callable[..., str]
) -> None:
    own("location = /own { return 200 served; }\n")
    converge()
    own("location = /own { return 200 served; }\nnonsense on;\n")
    for variables in ({}, {}, {"nginx_tls_memory_mb": 128}):
        with pytest.raises(AssertionError, match=f'unknown directive "nonsense" in {OWN}:2'):
            converge(**variables)
        assert client.get("/own").text == "served"
        assert client.get("/").status == 200


def test_check_mode_shows_what_is_written_anew_over_what_was_broken(
    machine: Machine, client: Client, converge: Callable[..., str]
) -> None:
    file = "/etc/slipway/nginx/sites/docs.conf"
    machine.run(f"echo 'nonsense on;' >>{file}")
    assert "-nonsense on;" in converge("--check", "--diff")
    assert client.get("/").status == 200
    converge()
    assert "nonsense" not in machine.run(f"cat {file}")


def test_a_file_that_others_can_change_fails_the_run(
    machine: Machine, own: Callable[[str], None], converge: Callable[..., str]
) -> None:
    assert machine.run(f"find {CUSTOM} -type d ! -perm 0755 -o ! -user root") == ""
    own("gzip off;\n")
    machine.run(f"chmod o+w {OWN}")
    with pytest.raises(AssertionError, match=f"{OWN}: not allowed here"):
        converge()


def test_a_file_of_nobodys_among_the_sites_is_named_and_stays(
    machine: Machine, client: Client, given: dict[str, Any], converge: Callable[..., str]
) -> None:
    sites = "/etc/slipway/nginx/sites"
    # nginx would refuse it.
    machine.feed(f"cat >{sites}/foreign.conf", "nonsense on;\n")
    try:
        assert f"[WARNING]: {sites}/foreign.conf: not written by Slipway" in " ".join(
            converge(nginx_tls_sites=given["nginx_tls_sites"][:1]).split()
        )
        assert client.get("/").status == 200
        assert machine.run(f"ls {sites}").split() == ["docs.conf", "foreign.conf"]
    finally:
        machine.run(f"rm {sites}/foreign.conf")


def test_https_on_another_port_keeps_it(machine: Machine, docs: Site, converge: Callable[..., None]) -> None:
    converge(nginx_tls_https_port=8443)
    moved = replace(docs, port=8443, url=f"{docs.url}:8443")
    client = Client(moved, machine.summary.ca_certificate)
    machine.run(
        "mkdir -p /srv/slipway/static/docs/public/sub && echo sub >/srv/slipway/static/docs/public/sub/index.html"
    )
    try:
        assert client.get("/").status == 200
        answer = client.get("/sub")
        assert answer.location in ("/sub/", f"{moved.url}/sub/")
        assert plain_request(docs.address, docs.domain, "/page?x=1").location == f"{moved.url}/page?x=1"
    finally:
        machine.run("rm -r /srv/slipway/static/docs/public/sub")
    with pytest.raises(OSError, match="refused"):
        connect(docs, client.context(), docs.domain)


def test_it_survives_the_kill_of_its_process(machine: Machine, client: Client) -> None:
    kill_each(machine, "web", lambda: client.get("/").status == 200)


def test_it_starts_at_boot(machine: Machine) -> None:
    assert starts_at_boot(machine, "nginx", "nginx")
