from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

from tests.acceptance import acme as server
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


PUBLIC = ["public.example.test", "www.public.example.test"]
PROGRAM = "/usr/local/libexec/slipway/acme"
CONFIG = "/etc/slipway/acme/config.json"
WORK = server.FOLDER
HOOKS = "/etc/slipway/certificate-hooks"
STATUS = "/var/lib/slipway/acme/status.json"
# What meets the challenges, where nginx would.
WEB = "python3 -m http.server 5002 --bind 127.0.0.1 --directory /var/lib/slipway/acme/challenges"
Acme = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def acme(machine: Machine) -> Iterator[Acme]:
    """Start a server, and return how the host's program is called with it; what it had served is put back."""
    if not server.install(machine):
        pytest.skip("pebble, the ACME server for tests, is not in this system's archive")
    with server.serving(machine, "127.0.0.1", 5002, WEB):
        # As if nothing had failed before.
        machine.run(f"rm -f {STATUS}; cp -a {FOLDER}/public.crt {WORK}/before.crt")
        config = json.loads(machine.run(f"cat {CONFIG}")) | {"ca_file": server.trusted(machine)}
        lines = [
            "#!/bin/sh",
            f"sha256sum {FOLDER}/public.crt >>{WORK}/read",
            f"[ ! -e {WORK}/broken ] && exit",
            "echo broken",
            "exit 1",
        ]
        machine.feed(f"cat >{HOOKS}/test", "\n".join([*lines, ""]))
        machine.run(f"chmod 755 {HOOKS}/test")

        def call(*options: str, **other: Any) -> tuple[int, str]:
            machine.feed(f"cat >{WORK}/config.json", json.dumps(config | other))
            done = machine.host.run(f"{PROGRAM} {WORK}/config.json {' '.join(options)}")
            assert not done.stderr
            return done.rc, done.stdout.strip()

        yield call
        machine.run(f"cp -a {WORK}/before.crt {FOLDER}/public.crt; rm -f {HOOKS}/test {STATUS}")


def status(machine: Machine) -> dict[str, Any]:
    return dict(json.loads(machine.run(f"cat {STATUS}")))


def test_a_server_that_is_away_leaves_the_local_certificate_and_is_noted(machine: Machine) -> None:
    """As the run of the role has found it."""
    found = certificate(machine, "public")
    authority = x509.load_pem_x509_certificate(machine.summary.ca_certificate.read_bytes())
    assert found.issuer == authority.subject
    assert "account" in status(machine)["certificates"]["public"]["error"]["text"]


def test_a_certificate_is_ordered_once_and_servers_read_it(machine: Machine, acme: Acme) -> None:
    key = machine.run(f"sha256sum {FOLDER}/public.key")
    assert acme("--check") == (0, "ordered public")
    assert acme("--missing") == (0, "ordered public")
    found = certificate(machine, "public")
    assert "Pebble" in found.issuer.rfc4514_string()
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(names.get_values_for_type(x509.DNSName)) == PUBLIC
    # The chain is behind it, and key and mode are as before.
    assert machine.run(f"grep -c BEGIN {FOLDER}/public.crt") == "2"
    assert machine.run(f"stat -c '%a %u %g' {FOLDER}/public.crt") == "644 0 0"
    assert machine.run(f"sha256sum {FOLDER}/public.key") == key
    assert machine.run(f"wc -l <{WORK}/read") == "1"
    for option in ("--missing", "--check"):
        assert acme(option) == (0, "")
    assert certificate(machine, "public") == found
    assert machine.run(f"wc -l <{WORK}/read") == "1"


def test_a_changed_name_is_ordered_anew(machine: Machine, acme: Acme) -> None:
    before = certificate(machine, "public")
    wanted = [{"name": "public", "names": [*PUBLIC, "more.example.test"]}]
    assert acme("--missing", certificates=wanted) == (0, "ordered public")
    found = certificate(machine, "public")
    assert found.serial_number != before.serial_number
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(names.get_values_for_type(x509.DNSName)) == sorted([*PUBLIC, "more.example.test"])
    assert acme("--missing") == (0, "ordered public")


def test_what_is_not_due_is_not_renewed(machine: Machine, acme: Acme) -> None:
    before = certificate(machine, "public")
    assert acme() == (0, "")
    assert certificate(machine, "public") == before


def test_a_reader_that_failed_is_asked_again(machine: Machine, acme: Acme) -> None:
    machine.run(f"touch {WORK}/broken; : >{WORK}/read")
    wanted = [{"name": "public", "names": [*PUBLIC, "again.example.test"]}]
    code, out = acme("--missing", certificates=wanted)
    assert code == 1
    assert f"failed to have certificates read: {HOOKS}/test: broken" in out
    machine.run(f"rm {WORK}/broken")
    assert acme("--timer", certificates=wanted) == (0, "")
    assert machine.run(f"wc -l <{WORK}/read") == "2"


def test_while_the_server_is_away_the_site_keeps_its_certificate_and_it_is_said(machine: Machine, acme: Acme) -> None:
    before = certificate(machine, "public")
    server.stop_server(machine)
    wanted = [{"name": "public", "names": [*PUBLIC, "more.example.test"]}]
    code, out = acme("--missing", certificates=wanted)
    assert code == 1
    assert "failed to order the certificate of public" in out
    assert certificate(machine, "public") == before
    assert "error" in status(machine)["certificates"]["public"]
    server.start_server(machine)
    # It knows no account any more, as a restored one may.
    assert acme("--missing", certificates=wanted) == (0, "ordered public")
    assert "error" not in status(machine)["certificates"]["public"]


def test_certificates_are_renewed_by_a_timer(machine: Machine) -> None:
    if machine.service_manager == "systemd":
        assert machine.run("systemctl is-enabled slipway-acme.timer") == "enabled"
    else:
        machine.run("test -x /usr/local/libexec/slipway/jobs/slipway-acme")
