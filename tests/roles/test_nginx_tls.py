from __future__ import annotations

import ssl

import pytest

from tests.acceptance.killing import kill_each
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site
from tests.acceptance.web import Client, connect, plain_request
from tests.repository import ROOT
from tests.roles.services import starts_at_boot

# As in molecule/shared/vars/nginx_tls.yml.
BLOG = "/srv/blog/public"


@pytest.fixture
def client(machine: Machine, docs: Site) -> Client:
    return Client(docs, machine.summary.ca_certificate)


@pytest.mark.parametrize("name", ["docs.example.test", "www.docs.example.test"])
def test_the_site_is_served_by_a_name_the_ca_vouches_for(machine: Machine, docs: Site, name: str) -> None:
    answer = Client(docs, machine.summary.ca_certificate, name).get("/")
    assert answer.status == 200
    assert answer.text == (ROOT / "examples/docs/index.html").read_text()


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


def test_it_survives_the_kill_of_its_process(machine: Machine, client: Client) -> None:
    kill_each(machine, "web", lambda: client.get("/").status == 200)


def test_it_starts_at_boot(machine: Machine) -> None:
    assert starts_at_boot(machine, "nginx", "nginx")
