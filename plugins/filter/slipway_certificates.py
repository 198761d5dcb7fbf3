"""Filter that checks a certificate of the user's own before it goes to a host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleFilterError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    MISSING = ""
except ImportError as error:
    MISSING = str(error)

DOCUMENTATION = r"""
name: slipway_certificates
short_description: Checks certificates of the user's own
description:
  - C(slipway_certificate_fault) tells why a certificate can't serve for some names, given it and its key as PEM.
"""


def _public(key: Any) -> bytes:
    form: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return form


def covers(pattern: str, name: str) -> bool:
    """Tell whether a certificate's name is this one; a wildcard stands for one label (RFC 6125, 6.4.3)."""
    if pattern.startswith("*."):
        return pattern[2:].lower() == name.partition(".")[2].lower()
    return pattern.lower() == name.lower()


def certificate_fault(certificate: str | None, key: str | None, names: list[str]) -> str:
    """Return why a certificate can't serve for all of the names; empty where it can.

    Certificate (its chain may follow) and key are PEM, or empty where the file can't be read. Raises AnsibleFilterError
    where the Python package cryptography is missing.
    """
    if MISSING:
        raise AnsibleFilterError(f"a provided certificate can't be checked: {MISSING}; install it on the controller")
    try:
        leaf = x509.load_pem_x509_certificate(str(certificate or "").encode())
    except ValueError:
        return "file can't be read, or holds no certificate as PEM"
    return _key_fault(leaf, str(key or "")) or _names_fault(leaf, names) or _time_fault(leaf)


def _key_fault(leaf: x509.Certificate, key: str) -> str:
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except TypeError:
        return "key_file has a passphrase, which no server could give; remove it, and encrypt the file by Ansible Vault"
    except ValueError:
        return "key_file can't be read, or holds no private key as PEM"
    if _public(leaf.public_key()) != _public(private.public_key()):
        return "file and key_file don't belong together; the first certificate of the file must be that of the key"
    return ""


def _names_fault(leaf: x509.Certificate, names: list[str]) -> str:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        own = found.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        own = []
    lacking = [name for name in names if not any(covers(pattern, name) for pattern in own)]
    return (
        f"the certificate isn't for {', '.join(lacking)}, but for {', '.join(own) or 'no host name'}" if lacking else ""
    )


def _time_fault(leaf: x509.Certificate) -> str:
    if leaf.not_valid_before_utc <= datetime.now(UTC) < leaf.not_valid_after_utc:
        return ""
    begins, ends = (f"{one:%Y-%m-%d}" for one in (leaf.not_valid_before_utc, leaf.not_valid_after_utc))
    return f"the certificate is valid from {begins} to {ends}, and not now"


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"slipway_certificate_fault": certificate_fault}
