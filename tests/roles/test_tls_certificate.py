from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from tests.acceptance.machine import Machine

FOLDER = "/etc/slipway/tls"
FILES = f"{FOLDER}/docs"
# A certificate's subject has room for 64 characters, a host name has up to 253.
NAMES = {
    "docs": ["docs.example.test", "www.docs.example.test"],
    "long": [f"{'a' * 63}.example.test", f"{('b' * 60 + '.') * 4}test"],
}


def certificate(machine: Machine, name: str = "docs") -> x509.Certificate:
    return x509.load_pem_x509_certificate(machine.run(f"cat {FOLDER}/{name}.crt").encode())


@pytest.mark.parametrize("name", NAMES)
def test_the_authority_vouches_for_every_name(machine: Machine, name: str) -> None:
    authority = x509.load_pem_x509_certificate(machine.summary.ca_certificate.read_bytes())
    for host in NAMES[name]:
        verifier = PolicyBuilder().store(Store([authority])).build_server_verifier(x509.DNSName(host))
        assert verifier.verify(certificate(machine, name), [])


def test_a_certificate_is_called_after_its_main_name_where_there_is_room(machine: Machine) -> None:
    called = {name: certificate(machine, name).subject.rfc4514_string() for name in NAMES}
    assert called == {"docs": "CN=docs.example.test", "long": "CN=long"}


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
