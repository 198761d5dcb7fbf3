#!/usr/bin/python
"""Module certificates_due: which certificates of a folder have to be made or renewed."""

from __future__ import annotations

import stat
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    MISSING = ""
except ImportError:
    MISSING = traceback.format_exc()

DOCUMENTATION = r"""
module: certificates_due
short_description: Tells which certificates of a folder have to be made or renewed
description:
  - Looks at all of them in one go. One is due if its key or its certificate isn't there, can't be read, doesn't fit the
    other, has another owner, group or mode than it should, other names, another issuer or another use, or ends soon.
options:
  folder:
    description: Where C(<name>.key) and C(<name>.crt) lie.
    type: path
    required: true
  certificates:
    description:
      - The wanted ones, each with C(name), C(names) and, where it isn't C(key_gid), C(key_gid).
      - One whose C(issuer) is C(acme) is due in addition only until another than the authority issued one of its key.
        Until that ends its names, its use and its issuer are for the ACME client to see to.
    type: list
    elements: dict
    required: true
  key_gid:
    description: The group that may read the keys.
    type: int
    required: true
  authority:
    description: The issuer's certificate as PEM.
    type: str
    required: true
  remaining:
    description: Seconds for which a certificate has to be valid still.
    type: int
    required: true
requirements:
  - cryptography 3.1 or later on the host
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Look which certificates are due
  certificates_due:
    folder: /etc/slipway/tls
    certificates: [{name: blog, names: [blog.example.test]}]
    key_gid: 0
    authority: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
    remaining: 2592000
"""

RETURN = r"""
due:
  description: Those that are due, each with C(name), C(names), C(key_gid) and C(common_name).
  returned: always
  type: list
  elements: dict
"""

_LONGEST = 64  # characters of a common name (RFC 5280, ub-common-name)


def complete(wanted: dict[str, Any], key_gid: int) -> dict[str, Any]:
    """Return a wanted certificate with all it is to have.

    Clients look at the alternative names alone; its common name is the first that has room.
    """
    common_name = next((name for name in wanted["names"] if len(name) <= _LONGEST), wanted["name"][:_LONGEST])
    return {"key_gid": key_gid, **wanted, "common_name": common_name}


def _owned(path: Path, gid: int, mode: int) -> bool:
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, gid, mode)


def _end(certificate: x509.Certificate) -> datetime:
    # cryptography before 42, which Debian 12 has, tells times without their zone.
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=UTC)


def _public(key: Any) -> bytes:
    form: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return form


def fits(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, names: list[str], common_name: str) -> bool:
    """Tell whether a certificate is of this key, for these names, and one of a server's."""
    extensions = certificate.extensions
    alternative = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    subject = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return (
        _public(certificate.public_key()) == _public(key.public_key())
        and sorted(alternative.get_values_for_type(x509.DNSName)) == sorted(names)
        and len(alternative) == len(names)
        and subject == [common_name]
        and usage.digital_signature
        and not usage.key_cert_sign
        and list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]
        and not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    )


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether the authority signed this certificate."""
    key = authority.public_key()
    algorithm = certificate.signature_hash_algorithm
    if certificate.issuer != authority.subject or not isinstance(key, ec.EllipticCurvePublicKey) or algorithm is None:
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def is_due(folder: Path, wanted: dict[str, Any], authority: x509.Certificate, remaining: timedelta) -> bool:
    """Tell whether one certificate has to be made or renewed."""
    key_file, file = folder / f"{wanted['name']}.key", folder / f"{wanted['name']}.crt"
    try:
        if not _owned(key_file, int(wanted["key_gid"]), 0o640) or not _owned(file, 0, 0o644):
            return True
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            return True
        if wanted.get("issuer") == "acme" and not signed_by(certificate, authority):
            own = _public(certificate.public_key()) == _public(key.public_key())
            return not own or _end(certificate) <= datetime.now(UTC)
        return (
            _end(certificate) - datetime.now(UTC) < remaining
            or not signed_by(certificate, authority)
            or not fits(certificate, key, wanted["names"], wanted["common_name"])
        )
    # What can't be read is made anew, as if it weren't there.
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "certificates": {"type": "list", "elements": "dict", "required": True},
            "key_gid": {"type": "int", "required": True},
            "authority": {"type": "str", "required": True},
            "remaining": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=MISSING)
    given = module.params
    authority = x509.load_pem_x509_certificate(given["authority"].encode())
    remaining = timedelta(seconds=given["remaining"])
    folder = Path(given["folder"])
    wanted = [complete(one, given["key_gid"]) for one in given["certificates"]]
    module.exit_json(changed=False, due=[one for one in wanted if is_due(folder, one, authority, remaining)])


if __name__ == "__main__":
    main()
