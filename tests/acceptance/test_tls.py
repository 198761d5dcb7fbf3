"""The handshake: who is served, with which protocols and ciphers (Mozilla's guideline 6.0, intermediate)."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.acceptance.summary import Site, Summary
from tests.acceptance.web import Client, connect

# Python warns of them; that the server refuses them is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")

# The certificate decides between ECDSA and RSA; both are of the guideline.
INTERMEDIATE = {
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
}
TLS13 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
OLD = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
# A certificate may last 366 days at most; 90 are recommended.
CERTIFICATE_DAYS = 366


@dataclass(frozen=True)
class Handshake:
    """What a handshake ended in: protocol and cipher, or the server's refusal."""

    version: str = ""
    cipher: str = ""
    refusal: str = ""


def offering(version: ssl.TLSVersion, ciphers: str = "ALL:COMPLEMENTOFALL") -> ssl.SSLContext:
    """Return a context that offers one protocol version, whatever OpenSSL thinks of its security."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.minimum_version = version
    context.maximum_version = version
    return context


def shake(site: Site, context: ssl.SSLContext, name: str | None) -> Handshake:
    try:
        with connect(site, context, name) as secure:
            return Handshake(secure.version() or "", (secure.cipher() or ("", "", 0))[0])
    except ssl.SSLError as error:
        return Handshake(refusal=error.reason or str(error))


def hello(context: ssl.SSLContext) -> bytes:
    """Return the first bytes a client with this context sends."""
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="any.example.test")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def server_that_takes_anything(folder: Path) -> ssl.SSLContext:
    """Return a server's context that takes even the oldest protocol, with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "any.example.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    return context


@pytest.mark.parametrize("version", OLD, ids=lambda version: version.name)
def test_the_client_really_offers_the_old_protocol(version: ssl.TLSVersion, tmp_path: Path) -> None:
    """Otherwise its own library would refuse it, and the next test would prove nothing."""
    # RFC 5246, 7.4.1.2: the version stands behind the headers of record (5 bytes) and handshake (4 bytes).
    assert hello(offering(version))[9:11] == {"TLSv1": b"\x03\x01", "TLSv1_1": b"\x03\x02"}[version.name]

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = offering(version).wrap_bio(to_client, to_server)
    server = server_that_takes_anything(tmp_path).wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() == server.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("version", OLD, ids=lambda version: version.name)
def test_old_protocols_are_refused(site: Site, version: ssl.TLSVersion) -> None:
    got = shake(site, offering(version), site.domain)
    assert "PROTOCOL_VERSION" in got.refusal, got


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_present_protocols_are_accepted(site: Site, version: ssl.TLSVersion) -> None:
    got = shake(site, offering(version), site.domain)
    assert got.version == version.name.replace("_", "."), got
    assert got.cipher in INTERMEDIATE | TLS13


def test_only_the_ciphers_of_the_guideline_are_accepted(site: Site) -> None:
    """Every cipher the client's library knows is offered alone."""
    known = [str(cipher["name"]) for cipher in offering(ssl.TLSVersion.TLSv1_2).get_ciphers()]
    old = [name for name in known if not name.startswith("TLS_")]
    assert len(old) > 50, "the client offers hardly anything but the guideline's own"
    assert set(old) >= INTERMEDIATE
    accepted = {name for name in old if shake(site, offering(ssl.TLSVersion.TLSv1_2, name), site.domain).version}
    assert accepted <= INTERMEDIATE
    assert len(accepted) >= 3, accepted


@pytest.mark.parametrize("name", ["nobody.example.invalid", None], ids=["unknown", "none"])
def test_an_unknown_name_is_refused_in_the_handshake(site: Site, name: str | None) -> None:
    got = shake(site, offering(ssl.TLSVersion.TLSv1_3), name)
    assert "UNRECOGNIZED_NAME" in got.refusal, got


@pytest.mark.lab
def test_the_certificate_is_verified(site: Site, summary: Summary) -> None:
    """By the CA of the summary, for the right name; a client that trusts the world's CAs refuses it."""
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(site, ssl.create_default_context(), site.domain)
    connect(site, Client(site, summary.ca_certificate).context(), site.domain).close()


def test_the_certificate_lasts_neither_too_long_nor_too_short(client: Client) -> None:
    """Renewed when a third of its life is left, in a day or so; Mozilla allows 366 days."""
    seen = client.certificate()
    life = seen.ends - seen.begins
    assert life <= CERTIFICATE_DAYS * 86400
    assert seen.ends - datetime.datetime.now(datetime.UTC).timestamp() >= life / 4
