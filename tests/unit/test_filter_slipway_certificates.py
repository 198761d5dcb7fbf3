"""Certificates of the user's own are checked before they go anywhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from plugins.filter.slipway_certificates import certificate_fault
from tests.unit.refusing import refusal

NAMES = ["blog.example.test", "www.blog.example.test"]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def pem(key: Key, passphrase: bytes = b"") -> str:
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def certificate(key: Key, names: list[str], begins: int = -1, days: int = 90) -> str:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        x509.Name([]), x509.Name([]), key.public_key(), 1, now + timedelta(begins), now + timedelta(begins + days)
    )
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternative, critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize("held", [NAMES, [*NAMES, "more.example.test"], ["blog.example.test", "*.BLOG.example.test"]])
def test_one_for_all_names_is_taken_wildcards_and_all(key: Key, held: list[str]) -> None:
    assert certificate_fault(certificate(key, held), pem(key), NAMES) == ""


def test_a_chain_may_follow_and_the_key_may_be_of_rsa(key: Key) -> None:
    other = rsa.generate_private_key(65537, 2048)
    assert certificate_fault(certificate(other, NAMES) + certificate(key, []), pem(other), NAMES) == ""


@pytest.mark.parametrize("held", [["blog.example.test"], ["*.example.test"], ["*.www.blog.example.test"], []])
def test_one_that_lacks_a_name_is_refused_by_that_name(key: Key, held: list[str]) -> None:
    fault = certificate_fault(certificate(key, held), pem(key), NAMES)
    assert "isn't for" in fault
    assert "www.blog.example.test" in fault


def test_the_chain_in_the_wrong_order_is_refused(key: Key) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert "first certificate" in certificate_fault(certificate(other, []) + certificate(key, NAMES), pem(key), NAMES)


@pytest.mark.parametrize(("begins", "days"), [(-91, 90), (1, 90)], ids=["expired", "not yet"])
def test_one_that_is_not_valid_now_is_refused(key: Key, begins: int, days: int) -> None:
    assert "not now" in certificate_fault(certificate(key, NAMES, begins, days), pem(key), NAMES)


def test_files_that_hold_something_else_are_refused_by_their_key_of_the_list(key: Key) -> None:
    good = certificate(key, NAMES)
    assert certificate_fault(None, pem(key), NAMES).startswith("file ")
    assert certificate_fault("garbage", pem(key), NAMES).startswith("file ")
    assert certificate_fault(pem(key), pem(key), NAMES).startswith("file ")
    assert certificate_fault(good, None, NAMES).startswith("key_file ")
    assert certificate_fault(good, good, NAMES).startswith("key_file ")
    assert "passphrase" in certificate_fault(good, pem(key, b"secret"), NAMES)


@pytest.mark.parametrize(
    ("distribution", "release", "refused"), [("Debian", "12", True), ("Ubuntu", "24", True), ("Debian", "13", False)]
)
def test_an_authority_that_the_client_can_not_be_told_of_is_refused(
    tmp_path: Path, distribution: str, release: str, refused: bool
) -> None:
    authority = tmp_path / "authority.pem"
    authority.touch()
    said = refusal(
        tmp_path,
        "tls_certificate",
        ansible_facts={
            "os_family": "Debian",
            "distribution": distribution,
            "distribution_major_version": release,
        },
        tls_certificate_certificates=[{"name": "shop", "names": ["shop.example.com"], "issuer": "acme"}],
        tls_certificate_acme_directory="https://ca.example.com/dir",
        tls_certificate_acme_ca_file=str(authority),
    )
    assert (
        f"tls_certificate_acme_ca_file is not allowed on localhost; the uacme of {distribution} {release}" in said
    ) == refused
    assert bool(said) == refused
