"""Whether the local certificate authority is right, told from what the role's own modules make."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plugins.action.authority_due import due
from tests.repository import ROOT
from tests.unit import running

NAME = "Slipway local CA"
PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    tls_certificate_ca_dir: "{{ playbook_dir }}/ca"
    tls_certificate_ca_name: Slipway local CA
    tls_certificate_ca_days: 3650
  tasks:
    - authority_due: {folder: "{{ tls_certificate_ca_dir }}", name: "{{ tls_certificate_ca_name }}"}
      register: look
    - ansible.builtin.include_tasks: '%s/roles/tls_certificate/tasks/authority.yml'
      when: look.due | length > 0
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a playbook and the authority that the role makes."""
    folder = tmp_path_factory.mktemp("authority")
    (folder / "play.yml").write_text(PLAYBOOK % ROOT)
    assert due(folder / "ca", NAME) == ["ca.key", "ca.crt"]
    assert "changed=3 " in running.playbook(folder)
    return folder


def certificate(folder: Path, name: str, *, path_length: int | None = 0, lists: bool = True, own: bool = True) -> None:
    """Write another certificate of the authority's key."""
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.now(UTC)
    other = ec.generate_private_key(ec.SECP384R1())
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    signed = (
        x509.CertificateBuilder(called, called, key.public_key(), 7, start, start + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(
            x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=lists, encipher_only=False, decipher_only=False),
            critical=True,
        )
        .sign(key if own else other, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def test_what_the_role_makes_is_right_and_nothing_else_is_run(made: Path) -> None:
    assert due(made / "ca", NAME) == []
    assert "ok=1 changed=0 " in " ".join(running.playbook(made).split())


@pytest.mark.parametrize(
    ("spoil", "files"),
    [
        (lambda folder: folder.chmod(0o755), ["ca.key", "ca.crt"]),
        (lambda folder: (folder / "ca.key").unlink(), ["ca.key", "ca.crt"]),
        (lambda folder: (folder / "ca.key").chmod(0o644), ["ca.key", "ca.crt"]),
        (lambda folder: (folder / "ca.key").write_text("half"), ["ca.key", "ca.crt"]),
        (lambda folder: (folder / "ca.crt").unlink(), ["ca.crt"]),
        (lambda folder: (folder / "ca.crt").chmod(0o600), ["ca.crt"]),
        (lambda folder: (folder / "ca.crt").write_text("half"), ["ca.crt"]),
        (lambda folder: certificate(folder, "Another name"), ["ca.crt"]),
        (lambda folder: certificate(folder, NAME, path_length=None), ["ca.crt"]),
        (lambda folder: certificate(folder, NAME, lists=False), ["ca.crt"]),
        (lambda folder: certificate(folder, NAME, own=False), ["ca.crt"]),
        # One that is as it should be but for its days is left alone.
        (lambda folder: certificate(folder, NAME), []),
    ],
)
def test_what_is_not_as_it_should_be_is_due(
    made: Path, tmp_path: Path, spoil: Callable[[Path], object], files: list[str]
) -> None:
    folder = tmp_path / "ca"
    folder.mkdir(mode=0o700)
    for name, mode in (("ca.key", 0o600), ("ca.crt", 0o644)):
        (folder / name).write_bytes((made / "ca" / name).read_bytes())
        (folder / name).chmod(mode)
    spoil(folder)
    assert due(folder, NAME) == files


def test_what_is_due_is_put_right(made: Path) -> None:
    key = (made / "ca/ca.key").read_bytes()
    (made / "ca/ca.crt").write_text("half")
    (made / "ca/ca.key").chmod(0o644)
    running.playbook(made)
    assert due(made / "ca", NAME) == []
    assert (made / "ca/ca.key").read_bytes() == key
