from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from tests.acceptance.machine import Machine

FILES = "/etc/slipway/tls/docs"


def certificate(machine: Machine) -> x509.Certificate:
    return x509.load_pem_x509_certificate(machine.run(f"cat {FILES}.crt").encode())


def test_the_authority_vouches_for_every_name(machine: Machine) -> None:
    authority = x509.load_pem_x509_certificate(machine.summary.ca_certificate.read_bytes())
    for name in ("docs.example.test", "www.docs.example.test"):
        verifier = PolicyBuilder().store(Store([authority])).build_server_verifier(x509.DNSName(name))
        assert verifier.verify(certificate(machine), [])


def test_it_lasts_long_enough_and_not_too_long(machine: Machine) -> None:
    found = certificate(machine)
    left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(days=30) < left <= datetime.timedelta(days=90)


def test_the_key_is_its_own_and_nobody_else_s(machine: Machine) -> None:
    assert machine.run(f"stat -c '%a %u %g' {FILES}.key") == "640 0 19003"
    assert machine.run(f"stat -c '%a %u %g' {FILES}.crt") == "644 0 0"
    public = certificate(machine).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"


def test_the_authority_s_key_stays_with_the_controller(machine: Machine) -> None:
    key = machine.summary.ca_certificate.with_name("ca.key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert machine.run("find /etc/slipway -name 'ca.key'") == ""
