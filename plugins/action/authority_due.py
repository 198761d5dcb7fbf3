"""Action authority_due: whether the local certificate authority on the controller has to be made or put right."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DOCUMENTATION = r"""
module: authority_due
short_description: Tells whether the local certificate authority has to be made or put right
description:
  - Looks at C(ca.key) and C(ca.crt) on the controller, in the controller's own process. The authority is due if one of
    them isn't there, can't be read, has another mode than it should, is of another kind, or if the certificate isn't
    the key's, or of another name or use.
  - When the certificate ends is left out of account, since a new one would have to reach every client first.
options:
  folder:
    description: Where C(ca.key) and C(ca.crt) lie.
    type: path
    required: true
  name:
    description: The name of the authority.
    type: str
    required: true
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Check the local certificate authority
  authority_due:
    folder: .slipway/ca
    name: Slipway local CA
"""

RETURN = r"""
due:
  description: The files that have to be made or put right.
  returned: always
  type: list
  elements: str
"""


def _is(path: Path, kind: int, mode: int) -> bool:
    found = path.lstat().st_mode
    return (stat.S_IFMT(found), stat.S_IMODE(found)) == (kind, mode)


def _usage_alone(usage: x509.KeyUsage) -> bool:
    """Tell whether the key may sign certificates and lists of revoked ones, and nothing else."""
    others = (usage.digital_signature, usage.content_commitment, usage.key_encipherment, usage.data_encipherment)
    return usage.key_cert_sign and usage.crl_sign and not any([*others, usage.key_agreement])


def _self_signed(certificate: x509.Certificate, key: ec.EllipticCurvePublicKey) -> bool:
    algorithm = certificate.signature_hash_algorithm
    if certificate.issuer != certificate.subject or algorithm is None:
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True


def fits(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, name: str) -> bool:
    """Tell whether a certificate is this key's, of this name, and an authority's. Raises ExtensionNotFound."""
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    return (
        certificate.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)
        and certificate.subject == x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        and (constraints.critical, constraints.value) == (True, x509.BasicConstraints(ca=True, path_length=0))
        and usage.critical
        and _usage_alone(usage.value)
        and _self_signed(certificate, key.public_key())
    )


def _key_due(folder: Path) -> bool:
    """Tell whether the key has to be made or put right."""
    try:
        if not (_is(folder, stat.S_IFDIR, 0o700) and _is(folder / "ca.key", stat.S_IFREG, 0o600)):
            return True
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    # What can't be read is for the modules that make it to judge.
    except (OSError, ValueError, TypeError):
        return True
    return not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1))


def _certificate_due(folder: Path, name: str) -> bool:
    """Tell whether the certificate has to be made or put right; the key is right."""
    try:
        if not _is(folder / "ca.crt", stat.S_IFREG, 0o644):
            return True
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        return not (isinstance(key, ec.EllipticCurvePrivateKey) and fits(certificate, key, name))
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return True


def due(folder: Path, name: str) -> list[str]:
    """Return which of the authority's files have to be made or put right."""
    if _key_due(folder):
        return ["ca.key", "ca.crt"]
    return ["ca.crt"] if _certificate_due(folder, name) else []


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Looks at the files here, so that nothing is started for it."""

    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"folder", "name"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return whether the authority is due."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        return {**result, "changed": False, "due": due(Path(given["folder"]).expanduser(), str(given["name"]))}
