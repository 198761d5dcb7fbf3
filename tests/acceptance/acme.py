"""An ACME server on the target: Pebble, from Debian's archive, with a server of names that finds all of them there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.acceptance.machine import Machine
from tests.acceptance.waiting import wait_until

FOLDER = "/run/slipway-acme-test"
DIRECTORY = "https://127.0.0.1:14000/dir"
# Its own certificate, which is its own authority.
CA = f"{FOLDER}/server.pem"
# Where the host has those that its administrator trusts.
_TRUSTED = "/usr/local/share/ca-certificates/slipway-acme-test.crt"
# Debian 12's has nothing to do with names over HTTPS.
_NAMES = (
    "pebble-challtestsrv -defaultIPv4 {} -defaultIPv6 '' -http01 '' -https01 '' -tlsalpn01 ''"
    " $(pebble-challtestsrv -help 2>&1 | grep -q doh && echo -doh=)"
)
# It refuses some of the nonces, which clients have to bear (RFC 8555, 6.5), in per cent.
_SERVER = f"pebble -config {FOLDER}/pebble.json -dnsserver 127.0.0.1:8053"
_ENVIRONMENT = "env PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=10"


def install(machine: Machine) -> bool:
    """Install Pebble; return whether the system's archive has it."""
    return bool(machine.host.run("apt-get install --yes --no-install-recommends pebble curl").rc == 0)


def trusted(machine: Machine) -> str:
    """Return what a client is told of the server's authority; nothing where it knows those of the host alone."""
    if not machine.host.system_info.release.startswith("12"):
        return CA
    machine.run(f"cp {CA} {_TRUSTED} && update-ca-certificates")
    return ""


def _start(machine: Machine, name: str, command: str) -> None:
    output = f">{FOLDER}/{name}.log 2>&1 </dev/null"
    machine.run(f"(setsid nohup {command} {output} & echo $! >{FOLDER}/{name}.pid)")


def start_server(machine: Machine) -> None:
    """Start Pebble, and wait until it answers. It knows no account of before."""
    _start(machine, "server", f"{_ENVIRONMENT} {_SERVER}")
    ask = f"curl --silent --insecure --fail {DIRECTORY}"
    wait_until("the ACME server answers", lambda: machine.host.run(ask).rc == 0, 30)


def stop_server(machine: Machine) -> None:
    """End Pebble."""
    machine.run(f"kill $(cat {FOLDER}/server.pid) && rm {FOLDER}/server.pid")


@contextmanager
def serving(machine: Machine, address: str, http_port: int, command: str = "") -> Iterator[None]:
    """Have Pebble serve, and ask for challenges there; ``command`` is run beside it, such as a web server."""
    machine.run(f"mkdir -p {FOLDER}")
    machine.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=acme"
        f" -addext subjectAltName=IP:127.0.0.1 -keyout {FOLDER}/server.key -out {CA}"
    )
    settings = {
        "listenAddress": "127.0.0.1:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": CA,
        "privateKey": f"{FOLDER}/server.key",
        "httpPort": http_port,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    machine.feed(f"cat >{FOLDER}/pebble.json", json.dumps({"pebble": settings}))
    try:
        _start(machine, "names", _NAMES.format(address))
        if command:
            _start(machine, "beside", command)
        start_server(machine)
        yield
    finally:
        machine.run(f"for file in {FOLDER}/*.pid; do kill $(cat $file) || true; done; rm -r {FOLDER}")
        machine.run(f"if [ -e {_TRUSTED} ]; then rm {_TRUSTED}; update-ca-certificates; fi")
