#!/usr/bin/python3
"""Orders and renews the certificates of this host by ACME (RFC 8555), with uacme(1).

    acme CONFIG [--missing] [--timer] [--check]

CONFIG is a JSON object: ``directory`` (the server's), ``email``, ``ca_file`` (with the authority of the server's own
certificate, or empty), ``hook`` and ``challenges`` (uacme's hook, and the folder it writes to), ``account`` (uacme's
folder), ``state`` (ours), ``folder`` (of ``<name>.key`` and ``<name>.crt``), ``hooks`` (a folder of programs that have
servers read their certificates) and ``certificates``, each with ``name`` and ``names``.

A certificate is renewed when the server asks for it (RFC 9773, by uacme 1.7.6 and later), or when a third of its life
is left, of a life of less than ten days half. Keys are never made or changed here. What is in place stays until the new
certificate is there as a whole, and is of its key and its names.

``--missing`` orders only what isn't in place by this server; of the others it tells why they couldn't be renewed.
``--timer`` orders nothing within eleven hours after the last attempt. ``--check`` prints what would be ordered, as far
as that can be told without asking the server. Each order is printed. The exit status is 1 if one failed or servers
couldn't be made to read what is in place; everything else is done all the same. ``status.json`` in the folder of ours
tells of each certificate when it ends, and why the last attempt failed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

# Between two attempts of the timer: twice a day, as authorities ask for.
PAUSE = timedelta(hours=11)
# A life that counts as short.
SHORT = timedelta(days=10)
# Seconds for one order; a server may take its time.
PATIENCE = 600
# How often uacme is called where the server takes none of its nonces, which any client has to bear (RFC 8555, 6.5); it
# tries twice by itself.
ATTEMPTS = 4
# Exit statuses of uacme(1).
ISSUED, GOOD = 0, 1


class OrderError(Exception):
    """Why a certificate couldn't be had, in one line."""


@dataclass(frozen=True)
class Paths:
    """Where what belongs to a certificate lies."""

    key: Path
    served: Path
    request: Path
    ordered: Path


def paths(config: dict[str, Any], name: str) -> Paths:
    """Return the paths of a certificate. uacme puts what it gets for ``x.csr`` into ``x-cert.pem``."""
    folder, state = Path(config["folder"]), Path(config["state"])
    return Paths(folder / f"{name}.key", folder / f"{name}.crt", state / f"{name}.csr", state / f"{name}-cert.pem")


def life(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """Return from when to when a certificate is valid."""
    # cryptography before 42, which Debian 12 has, tells times without their zone.
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate.not_valid_before.replace(tzinfo=UTC), certificate.not_valid_after.replace(tzinfo=UTC)


def days_left_at_renewal(certificate: x509.Certificate) -> int:
    """Return the days that are left of a certificate when it is renewed, at least one."""
    begins, ends = life(certificate)
    whole = ends - begins
    return max(1, round(whole / (2 if whole < SHORT else 3) / timedelta(days=1)))


def public(key: Any) -> bytes:
    """Return a public key in one form."""
    form: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return form


def private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of a file; raises OrderError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise OrderError(f"{path}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise OrderError(f"{path} is no key of an elliptic curve")
    return key


def certificate_of(path: Path) -> x509.Certificate | None:
    """Return the first certificate of a file, or none where there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None


def fits(certificate: x509.Certificate | None, key: ec.EllipticCurvePrivateKey, names: list[str]) -> bool:
    """Tell whether a certificate is of a key and for all of these names, and hasn't ended."""
    if certificate is None or life(certificate)[1] <= datetime.now(UTC):
        return False
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return public(certificate.public_key()) == public(key.public_key()) and sorted(names) == sorted(
        found.get_values_for_type(x509.DNSName)
    )


def request(key: ec.EllipticCurvePrivateKey, names: list[str]) -> bytes:
    """Return a signing request for a certificate, as PEM. Its subject is empty: the names alone count."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def write(path: Path, content: bytes, mode: int) -> None:
    """Put a file into its place as a whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def call(config: dict[str, Any], *words: str) -> tuple[int, str]:
    """Call uacme; return its exit status and, in a line, what it said last."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "UACME_CHALLENGE_PATH": config["challenges"],
        **({"UACME_CAINFO": config["ca_file"]} if config["ca_file"] else {}),
    }
    known = ["uacme", "--verbose", "--yes", "--confdir", config["account"], "--acme-url", config["directory"]]
    for _ in range(ATTEMPTS):
        try:
            done = subprocess.run(
                [*known, *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OrderError(f"uacme: {error}") from None
        if done.returncode in (ISSUED, GOOD) or "badNonce" not in done.stdout:
            break
    # Of a server's refusal it prints the whole document, with the reason somewhere within (RFC 7807).
    lines = [line.removeprefix("uacme: ") for line in done.stdout.splitlines() if line.startswith("uacme: ")]
    details = re.findall(r'"detail":\s*"((?:[^"\\]|\\.)*)"', done.stdout)
    return done.returncode, ": ".join([*lines[-1:], *details[-1:]]) or f"exit status {done.returncode}"


def has_account(config: dict[str, Any], status: dict[str, Any]) -> bool:
    """Tell whether the server knows the account: one is made where the server or the address changed."""
    there = (Path(config["account"]) / "private/key.pem").exists()
    return there and status.get("account") == {key: config[key] for key in ("directory", "email")}


def make_account(config: dict[str, Any], status: dict[str, Any]) -> None:
    """Have the server know the account. It gives the same one to the same key."""
    code, said = call(config, "new", config["email"])
    # That the server knows the key already is a failure to uacme.
    if code not in (ISSUED, GOOD) and "already exists" not in said:
        raise OrderError(f"no account: {said}")
    status["account"] = {key: config[key] for key in ("directory", "email")}


def is_other(config: dict[str, Any], wanted: dict[str, Any], told: dict[str, Any]) -> bool:
    """Tell whether what was ordered last, if anything, is not of this server, the key and the names; or has ended."""
    where = paths(config, wanted["name"])
    return told.get("directory") != config["directory"] or not fits(
        certificate_of(where.ordered), private_key(where.key), wanted["names"]
    )


def is_missing(config: dict[str, Any], wanted: dict[str, Any], told: dict[str, Any]) -> bool:
    """Tell whether what is in place is not what this server issued for the key and the names."""
    where = paths(config, wanted["name"])
    return is_other(config, wanted, told) or certificate_of(where.ordered) != certificate_of(where.served)


def order(config: dict[str, Any], wanted: dict[str, Any], told: dict[str, Any]) -> bool:
    """Have one certificate issued where it is due, and put it into its place; return whether that changed it."""
    where = paths(config, wanted["name"])
    key = private_key(where.key)
    ordered = certificate_of(where.ordered)
    write(where.request, request(key, wanted["names"]), 0o600)
    options = ["--hook", config["hook"]]
    if ordered is None or is_other(config, wanted, told):
        options += ["--force"]
    else:
        options += ["--days", str(days_left_at_renewal(ordered))]
    code, said = call(config, *options, "issue", str(where.request))
    if code not in (ISSUED, GOOD):
        raise OrderError(said)
    issued = certificate_of(where.ordered)
    if not fits(issued, key, wanted["names"]):
        raise OrderError(f"what the server issued is not of the key or not for {', '.join(wanted['names'])}")
    told["directory"] = config["directory"]
    content = where.ordered.read_bytes()
    if where.served.exists() and where.served.read_bytes() == content:
        return False
    write(where.served, content, 0o644)
    return True


def served(config: dict[str, Any]) -> str:
    """Return what stands for the certificates that are in place."""
    digest = hashlib.sha256()
    for wanted in config["certificates"]:
        path = paths(config, wanted["name"]).served
        content = path.read_bytes() if path.exists() else b""
        digest.update(f"{path} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def call_hooks(folder: Path) -> list[str]:
    """Have the servers read their certificates; return what went wrong, a line for each."""
    faults = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or not os.access(path, os.X_OK):
            continue
        try:
            done = subprocess.run(
                [str(path)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            faults.append(f"{path}: {error}")
            continue
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            faults.append(f"{path}: {said or f'exit status {done.returncode}'}")
    return faults


def failure(wanted: dict[str, Any], told: dict[str, Any]) -> str:
    """Return what is printed of a certificate that couldn't be ordered."""
    return f"failed to order the certificate of {wanted['name']} at {told['error']['at']}: {told['error']['text']}"


def order_all(config: dict[str, Any], status: dict[str, Any], *, missing: bool) -> None:
    """Order what is due, or what is missing alone, and note in ``status`` how it went."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    certificates = status.setdefault("certificates", {})
    for name in set(certificates) - {wanted["name"] for wanted in config["certificates"]}:
        del certificates[name]
    for wanted in config["certificates"]:
        told = certificates.setdefault(wanted["name"], {})
        try:
            if not missing or is_missing(config, wanted, told):
                # After an error the server may know nothing of it any more.
                if "error" in told or not has_account(config, status):
                    make_account(config, status)
                if order(config, wanted, told):
                    print(f"ordered {wanted['name']}")
                told.pop("error", None)
        except OrderError as error:
            told["error"] = {"text": str(error), "at": now}
        if "error" in told:
            print(failure(wanted, told))
        there = certificate_of(paths(config, wanted["name"]).served)
        told["not_after"] = life(there)[1].isoformat() if there else ""


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Order and renew certificates by ACME.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--missing", action="store_true", help="order only what is not in place by this server")
    parser.add_argument("--timer", action="store_true", help="order nothing soon after the last attempt")
    parser.add_argument("--check", action="store_true", help="print what would be ordered, and order nothing")
    given = parser.parse_args()
    config = json.loads(given.config.read_text(encoding="utf-8"))
    state = Path(config["state"])
    file = state / "status.json"
    # The web server reads what the hook writes.
    os.umask(0o022)
    if given.check:
        status = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for wanted in config["certificates"]:
            told = status.get("certificates", {}).get(wanted["name"], {})
            # What failed the last time is tried again, and nobody knows how that ends.
            if "error" in told:
                print(failure(wanted, told))
            elif is_missing(config, wanted, told):
                print(f"ordered {wanted['name']}")
        return 0
    with (state / "lock").open("w") as lock:
        # A run and the timer may meet.
        fcntl.flock(lock, fcntl.LOCK_EX)
        status = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        try:
            if not given.timer or time.time() - status.get("tried", 0) >= PAUSE.total_seconds():
                order_all(config, status, missing=given.missing)
                if not given.missing:
                    status["tried"] = int(time.time())
            faults = []
            # By what they read, and not by what was done now: an attempt may be cut between the two.
            if status.get("read") != (now := served(config)):
                faults = call_hooks(Path(config["hooks"]))
                for fault in faults:
                    print(f"failed to have certificates read: {fault}")
                if not faults:
                    status["read"] = now
        finally:
            write(file, json.dumps(status, indent=2, sort_keys=True).encode() + b"\n", 0o644)
    return 1 if faults or any("error" in told for told in status.get("certificates", {}).values()) else 0


if __name__ == "__main__":
    sys.exit(main())
