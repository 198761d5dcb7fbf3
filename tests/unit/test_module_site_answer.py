"""Asking a site over verified HTTPS, against a real server with a certificate of an authority made here."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugins.modules.site_answer import ask, ask_all

DOMAIN = "blog.example.test"
PAGE = "<html><head><title>\n The captain's log </title></head></html>"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _authority(folder: Path, name: str) -> tuple[Path, ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(_name(name), _name(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.crt"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path, key, certificate


@dataclass(frozen=True)
class Server:
    port: int
    ca: Path
    other_ca: Path
    certificate: Path
    not_after: datetime


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/" and self.headers["Host"].startswith(DOMAIN)
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(PAGE.encode() if known else b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    ca, ca_key, ca_certificate = _authority(folder, "authority")
    other, _, _ = _authority(folder, "stranger")
    key = ec.generate_private_key(ec.SECP256R1())
    not_after = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=20)
    certificate = (
        x509.CertificateBuilder(ca_certificate.subject, _name(DOMAIN), key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(not_after)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    path = folder / "leaf.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    http = HTTPServer(("127.0.0.1", 0), Page)
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield Server(http.server_port, ca, other, path, not_after)
    http.shutdown()
    http.server_close()


def test_it_brings_the_page_and_its_certificate(server: Server) -> None:
    answer = ask("127.0.0.1", server.port, DOMAIN, "/", server.ca.read_text())
    assert answer["status"] == 200
    assert answer["title"] == "The captain's log"
    assert answer["not_after"] == server.not_after.strftime("%Y-%m-%dT%H:%M:%SZ")
    # As others see it.
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(server.certificate)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.strip().endswith(f"={answer['fingerprint']}")


def test_it_tells_the_status_of_a_page_that_is_not_there(server: Server) -> None:
    assert ask("127.0.0.1", server.port, DOMAIN, "/nowhere", server.ca.read_text())["status"] == 404


def test_it_trusts_no_other_authority(server: Server) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        ask("127.0.0.1", server.port, DOMAIN, "/", server.other_ca.read_text())


def test_it_takes_no_certificate_of_another_name(server: Server) -> None:
    for local in (True, False):
        with pytest.raises(ssl.SSLCertVerificationError):
            ask("127.0.0.1", server.port, "other.example.test", "/", server.ca.read_text(), local=local)


def test_of_a_certificate_of_others_it_is_told_whether_it_is_trusted_here(server: Server) -> None:
    told = {
        name: ask("127.0.0.1", server.port, DOMAIN, "/", ca.read_text(), local=False)
        for name, ca in (("own", server.ca), ("other", server.other_ca))
    }
    assert {name: (one["status"], one["trusted"]) for name, one in told.items()} == {
        "own": (200, True),
        "other": (200, False),
    }
    assert told["own"]["fingerprint"] == told["other"]["fingerprint"]


def test_no_server_is_an_error_of_the_system(server: Server) -> None:
    del server
    with pytest.raises(OSError, match="refused"):
        ask("127.0.0.1", 1, DOMAIN, "/", None)


SITES = [
    {"name": "blog", "names": [DOMAIN, f"www.{DOMAIN}"], "local": True},
    {"name": "other", "names": ["other.example.test"], "local": True},
]


def test_all_sites_are_asked_and_each_tells_its_own(server: Server) -> None:
    found = ask_all(("127.0.0.1", server.port), SITES, "/", server.ca.read_text(), [200], timeout=2, reach=2)
    assert found["reached"]
    blog, other = found["sites"]
    assert blog["name"] == "blog"
    assert blog["names"] == [DOMAIN, f"www.{DOMAIN}"]
    assert blog["problem"] == ""
    assert blog["fingerprint"]
    # A certificate of another name is an answer, and a wrong one.
    assert other["name"] == "other"
    assert "other.example.test" in other["problem"]
    assert "fingerprint" not in other


def test_a_wrong_status_is_told_with_what_was_wanted(server: Server) -> None:
    found = ask_all(("127.0.0.1", server.port), SITES[:1], "/no", server.ca.read_text(), [200], timeout=1, reach=1)
    assert found["reached"]
    assert "404" in found["sites"][0]["problem"]
    assert "200" in found["sites"][0]["problem"]


@pytest.fixture
def deaf() -> Iterator[int]:
    """Take connections, and never say a word: a firewall that dropped Docker's rules leaves it so."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("count", [1, 100])
def test_an_address_out_of_reach_costs_the_same_for_any_number_of_sites(deaf: int, count: int) -> None:
    sites = [{"name": f"s{n}", "names": [f"s{n}.example.test"], "local": True} for n in range(count)]
    began = time.monotonic()
    found = ask_all(("127.0.0.1", deaf), sites, "/", None, [200], timeout=30, reach=2)
    assert time.monotonic() - began < 6
    assert not found["reached"]
    assert [site["name"] for site in found["sites"]] == [site["name"] for site in sites]
    assert all(site["problem"] for site in found["sites"])


def test_a_refused_connection_is_no_reach(server: Server) -> None:
    del server
    assert not ask_all(("127.0.0.1", 1), SITES, "/", None, [200], timeout=5, reach=1)["reached"]


def test_it_waits_for_a_server_that_is_still_starting(server: Server) -> None:
    """Within the time it has, a site may come."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def serve() -> None:
        time.sleep(1)
        with (
            socket.create_server(("127.0.0.1", port)) as front,
            front.accept()[0] as client,
            socket.create_connection(("127.0.0.1", server.port)) as back,
        ):
            threading.Thread(target=_pipe, args=(client, back), daemon=True).start()
            _pipe(back, client)

    threading.Thread(target=serve, daemon=True).start()
    found = ask_all(("127.0.0.1", port), SITES[:1], "/", server.ca.read_text(), [200], timeout=10, reach=10)
    assert found["sites"][0]["problem"] == ""


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
