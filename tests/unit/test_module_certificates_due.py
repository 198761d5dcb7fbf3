"""Which certificates have to be renewed, told from files that are made here."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from plugins.modules.certificates_due import complete, is_due

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the files have to be root's")

NAMES = ["blog.example.test", "www.blog.example.test"]
WANTED = complete({"name": "blog", "names": NAMES}, 19003)
MONTH = timedelta(days=30)
CA_KEY = ec.generate_private_key(ec.SECP384R1())


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def authority(name: str = "Slipway local CA", key: ec.EllipticCurvePrivateKey = CA_KEY) -> x509.Certificate:
    return signed(key.public_key(), named(name), named(name), 3650, [], key)


def signed(
    public: Any, subject: x509.Name, issuer: x509.Name, days: int, extensions: list[x509.ExtensionType], key: Any
) -> x509.Certificate:
    now = datetime.now(UTC)
    ends = now + timedelta(days)
    builder = x509.CertificateBuilder(
        issuer, subject, public, x509.random_serial_number(), min(now, ends - timedelta(1)), ends
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def usage(*, signs: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def make(folder: Path, **other: Any) -> None:
    """Make a key and its certificate as the role does, but for what is said."""
    given = {"names": NAMES, "days": 90, "issuer": "Slipway local CA", "signer": CA_KEY, "subject": NAMES[0], **other}
    key = other.get("key") or ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    extensions = [
        x509.SubjectAlternativeName([x509.DNSName(name) for name in given["names"]]),
        x509.BasicConstraints(ca=False, path_length=None),
        usage(signs=other.get("signs", False)),
        x509.ExtendedKeyUsage([other.get("purpose", ExtendedKeyUsageOID.SERVER_AUTH)]),
    ]
    certificate = signed(
        key.public_key(), named(given["subject"]), named(given["issuer"]), given["days"], extensions, given["signer"]
    )
    put(folder / "blog.key", pem, 0o640, 19003)
    put(folder / "blog.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644, 0)


def put(path: Path, content: bytes, mode: int, gid: int) -> None:
    path.write_bytes(content)
    path.chmod(mode)
    os.chown(path, 0, gid)


def test_one_that_is_as_it_should_be_is_not_due(tmp_path: Path) -> None:
    make(tmp_path)
    assert not is_due(tmp_path, WANTED, authority(), MONTH)


@pytest.mark.parametrize(
    "other",
    [
        {"names": (NAMES[0],)},
        {"names": (*NAMES, "shop.example.test")},
        {"days": 29},
        {"key": ec.generate_private_key(ec.SECP384R1())},
        {"key": rsa.generate_private_key(65537, 2048)},
        {"issuer": "Another CA"},
        {"signer": ec.generate_private_key(ec.SECP384R1())},
        {"subject": NAMES[1]},
        {"signs": True},
        {"purpose": ExtendedKeyUsageOID.CLIENT_AUTH},
    ],
    ids=lambda other: next(iter(other)),
)
def test_one_that_is_not_is_due(tmp_path: Path, other: dict[str, Any]) -> None:
    make(tmp_path, **other)
    assert is_due(tmp_path, WANTED, authority(), MONTH)


@pytest.mark.parametrize(
    ("other", "due"),
    [
        ({"names": (NAMES[0],)}, False),
        ({"days": 1, "subject": "x"}, False),
        ({"days": -1}, True),
        ({"key": rsa.generate_private_key(65537, 2048)}, True),
    ],
    ids=["names", "soon", "ended", "key"],
)
def test_what_an_acme_server_issued_is_left_to_its_client_while_it_serves(
    tmp_path: Path, other: dict[str, Any], due: bool
) -> None:
    make(tmp_path, issuer="Another CA", signer=ec.generate_private_key(ec.SECP256R1()), **other)
    assert is_due(tmp_path, WANTED | {"issuer": "acme"}, authority(), MONTH) == due
    # Back with the authority, it is none of its own.
    assert is_due(tmp_path, WANTED | {"issuer": "local"}, authority(), MONTH)


def test_one_that_holds_the_place_of_an_acme_servers_is_as_any_other(tmp_path: Path) -> None:
    wanted = WANTED | {"issuer": "acme"}
    make(tmp_path)
    assert not is_due(tmp_path, wanted, authority(), MONTH)
    make(tmp_path, days=29)
    assert is_due(tmp_path, wanted, authority(), MONTH)


def test_one_of_the_authority_of_before_is_due(tmp_path: Path) -> None:
    make(tmp_path)
    assert is_due(tmp_path, WANTED, authority(key=ec.generate_private_key(ec.SECP384R1())), MONTH)


def test_a_certificate_of_another_key_is_due(tmp_path: Path) -> None:
    make(tmp_path)
    certificate = (tmp_path / "blog.crt").read_bytes()
    make(tmp_path)
    (tmp_path / "blog.crt").write_bytes(certificate)
    assert is_due(tmp_path, WANTED, authority(), MONTH)


@pytest.mark.parametrize("name", ["blog.key", "blog.crt"])
@pytest.mark.parametrize("fault", ["gone", "garbage", "mode", "group", "link"])
def test_files_that_are_not_as_they_should_be_are_due(tmp_path: Path, name: str, fault: str) -> None:
    make(tmp_path)
    path = tmp_path / name
    if fault == "gone":
        path.unlink()
    elif fault == "garbage":
        path.write_text("This is no certificate")
    elif fault == "mode":
        path.chmod(0o666)
    elif fault == "group":
        os.chown(path, 0, 33)
    else:
        path.rename(tmp_path / "other")
        path.symlink_to("other")
    assert is_due(tmp_path, WANTED, authority(), MONTH)


def test_the_common_name_is_one_with_room() -> None:
    long = "a" * 63 + ".example.test"
    assert complete({"name": "long", "names": [long, "x.example.test"]}, 0)["common_name"] == "x.example.test"
    assert complete({"name": "n" * 70, "names": [long]}, 0)["common_name"] == "n" * 64
    assert complete({"name": "ftp", "names": ["x"], "key_gid": 0}, 19003)["key_gid"] == 0
