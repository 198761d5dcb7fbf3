"""Certificates that others issue: ordered from a real ACME server, provided, and given up again, while sites serve."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.acceptance import acme, lab_target, runs
from tests.acceptance.machine import Machine
from tests.acceptance.runs import Run
from tests.acceptance.summary import Site, Summary
from tests.acceptance.web import connect

pytestmark = [pytest.mark.lab, pytest.mark.writes, pytest.mark.full]


@pytest.fixture(scope="module")
def server(machine: Machine, summary: Summary) -> Iterator[None]:
    if not acme.install(machine):
        pytest.skip("pebble, the ACME server for tests, is not in this system's archive")
    with acme.serving(machine, summary.sites[0].address, 80):
        yield


def own_certificate(folder: Path, names: list[str]) -> dict[str, str]:
    """Make what a user may have from elsewhere; return the keys of a site's certificate."""
    key, now = rsa.generate_private_key(65537, 2048), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody else")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = {"file": folder / "own.pem", "key_file": folder / "own.key"}
    paths["file"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths["key_file"].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {kind: str(path) for kind, path in paths.items()}


def unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def seen(site: Site, name: str = "") -> x509.Certificate:
    with connect(site, unverified(), name or site.domain) as secure:
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")


def issuer(site: Site, name: str = "") -> str:
    return seen(site, name).issuer.rfc4514_string()


class Visits:
    """Asks a site for a handshake twenty times a second, meanwhile."""

    def __init__(self, site: Site) -> None:
        self.site, self.made = site, 0
        self.failed: list[str] = []
        self._end, self._pool = Event(), ThreadPoolExecutor(1)
        self._running: Future[None] = self._pool.submit(self._visit)

    def _visit(self) -> None:
        context = unverified()
        while not self._end.wait(0.05):
            try:
                connect(self.site, context, self.site.domain).close()
                self.made += 1
            except OSError as error:
                self.failed.append(str(error))

    def end(self) -> None:
        self._end.set()
        self._running.result()


@pytest.fixture(scope="module")
def changed(
    server: None, machine: Machine, summary: Summary, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], Run, Visits]]:
    """Have one site's certificate issued by ACME, and another's provided; all are the local authority's afterwards."""
    del server
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "server.pem").write_text(machine.run(f"cat {acme.CA}") + "\n", encoding="utf-8")
    blog, docs = summary.of_type("wordpress")[0], summary.of_type("static")[0]
    sites = lab_target.sites()
    given = own_certificate(folder, [docs.domain, *sites[docs.name].get("aliases", [])])
    certificates = {blog.name: {"issuer": "acme"}, docs.name: given}
    variables = {
        "slipway_sites": [
            site | ({"certificate": certificates[name]} if name in certificates else {}) for name, site in sites.items()
        ],
        "tls_certificate_acme_directory": acme.DIRECTORY,
        "tls_certificate_acme_ca_file": str(folder / "server.pem"),
        "tls_certificate_acme_email": "captain@example.test",
    }
    visits = Visits(blog)
    run = runs.run(folder, variables=variables)
    visits.end()
    yield variables, run, visits
    visits = Visits(blog)
    back = runs.run(folder)
    visits.end()
    assert back.code == 0, back.output[-3000:]
    assert {issuer(site) for site in summary.sites} == {"CN=Slipway local CA"}
    assert visits.made > 100
    assert visits.failed == []
    assert runs.run(folder).changes == []
    assert machine.host.run("test -e /etc/slipway/acme/config.json").rc != 0


Changed = tuple[dict[str, Any], Run, Visits]


def test_each_site_has_the_certificate_that_it_is_to_have(changed: Changed, summary: Summary) -> None:
    _, run, visits = changed
    assert run.code == 0, run.output[-3000:]
    # Meanwhile nobody was turned away.
    assert visits.made > 100
    assert visits.failed == []
    blog, docs = summary.of_type("wordpress")[0], summary.of_type("static")[0]
    names = lab_target.sites()[blog.name]
    for name in [names["domain"], *names.get("aliases", [])]:
        assert "Pebble" in issuer(blog, name)
    assert issuer(docs) == "CN=somebody else"
    assert {issuer(site) for site in summary.sites if site not in (blog, docs)} == {"CN=Slipway local CA"}
    # Nobody here knows who issued these, which a person should know.
    note = next(line for line in run.output.splitlines() if "doesn't know who issued" in line)
    assert blog.name in note
    assert docs.name in note


def test_only_where_others_issued_it_browsers_are_told_to_come_by_https_alone(
    changed: Changed, summary: Summary
) -> None:
    del changed
    told = {}
    for site in summary.sites:
        with connect(site, unverified(), site.domain) as secure:
            secure.sendall(f"GET / HTTP/1.0\r\nHost: {site.domain}\r\n\r\n".encode())
            told[site.name] = b"strict-transport-security" in secure.recv(8192).lower()
    others = {summary.of_type("wordpress")[0].name, summary.of_type("static")[0].name}
    assert {name for name, said in told.items() if said} == others


def test_a_second_run_orders_and_changes_nothing(changed: Changed, summary: Summary, tmp_path: Path) -> None:
    variables, _, _ = changed
    before = seen(summary.of_type("wordpress")[0])
    for arguments in ((), ("--check",)):
        run = runs.run(tmp_path, *arguments, variables=variables)
        assert run.code == 0, run.output[-3000:]
        assert run.changes == []
    assert seen(summary.of_type("wordpress")[0]) == before


def test_a_renewed_certificate_is_served_without_a_run(changed: Changed, machine: Machine, summary: Summary) -> None:
    del changed
    blog = summary.of_type("wordpress")[0]
    before = seen(blog)
    # As if it had never been ordered, which the timer's task looks for as well.
    machine.run(f"rm -f /var/lib/slipway/acme/{blog.name}-cert.pem /var/lib/slipway/acme/status.json")
    if machine.service_manager == "systemd":
        machine.run("systemctl start slipway-acme.service")
    else:
        machine.run("/usr/local/libexec/slipway/jobs/slipway-acme")
    after = seen(blog)
    assert after.serial_number != before.serial_number
    assert "Pebble" in issuer(blog)


def test_an_order_that_fails_is_said_and_the_sites_serve(
    changed: Changed, machine: Machine, summary: Summary, tmp_path: Path
) -> None:
    variables, _, _ = changed
    blog = summary.of_type("wordpress")[0]
    sites = [
        site | ({"aliases": [*site.get("aliases", []), "more.example.test"]} if site["name"] == blog.name else {})
        for site in variables["slipway_sites"]
    ]
    acme.stop_server(machine)
    run = runs.run(tmp_path, variables=variables | {"slipway_sites": sites})
    assert run.code == 0, run.output[-3000:]
    assert f"order the certificate of {blog.name}" in run.output
    assert "Pebble" in issuer(blog)
    acme.start_server(machine)
    run = runs.run(tmp_path, variables=variables | {"slipway_sites": sites})
    assert run.code == 0, run.output[-3000:]
    assert "Pebble" in issuer(blog, "more.example.test")
    # A name that comes or goes makes nginx's container anew, which is no matter of certificates.
    assert runs.run(tmp_path, variables=variables).code == 0
