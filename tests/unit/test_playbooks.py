"""What can be said of the playbooks without a host, by ansible-playbook itself, and with this machine for a host."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.repository import ROOT, load, playbooks

# Reserved for documentation: nobody answers there.
NOWHERE = "192.0.2.200"


def ansible_playbook(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), *arguments],
        cwd=cwd,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "400", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


def errors(output: str) -> list[str]:
    """Return the lines that say what is wrong."""
    return [line for line in output.splitlines() if line.startswith("[ERROR]")]


class Inventory:
    """An inventory of this machine, with the repository's variables and a state folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder.parent / "state"
        self.variables: dict[str, Any] = {
            "ansible_connection": "local",
            "ansible_become": False,
            "ansible_python_interpreter": sys.executable,
            "slipway_state_dir": str(self.state),
        }
        shutil.copytree(ROOT / "inventory/group_vars", folder / "group_vars")

    def write(self, groups: list[str] | None = None, **variables: Any) -> Path:
        names = groups or list(load(ROOT / "inventory/hosts.yml")["all"]["children"])
        content = {
            "all": {
                "hosts": {"vm1": self.variables | variables},
                "children": {name: {"hosts": {"vm1": {}}} for name in names},
            }
        }
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return self.folder


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    folder = tmp_path / "inventory"
    folder.mkdir()
    return Inventory(folder)


def test_without_a_host_a_run_says_what_to_do(tmp_path: Path) -> None:
    shutil.copy(ROOT / "inventory/hosts.yml", tmp_path)
    shutil.copytree(ROOT / "inventory/group_vars", tmp_path / "group_vars")
    done = ansible_playbook("site.yml", "-i", str(tmp_path))
    assert done.returncode != 0
    assert "make up" in done.stdout
    assert "inventory/hosts.yml" in done.stdout
    # It stopped right there.
    assert "PLAY [Validate hosts]" not in done.stdout


def test_every_playbook_can_be_read() -> None:
    names = [str(path.relative_to(ROOT)) for path in playbooks()]
    assert "site.yml" in names
    done = ansible_playbook("--syntax-check", "-i", "localhost,", *names)
    assert done.returncode == 0, done.stdout


def test_the_whole_run_only_imports_and_ends_with_the_summary() -> None:
    imported = [
        entry.get("import_playbook") or entry.get("ansible.builtin.import_playbook")
        for entry in load(ROOT / "site.yml")
    ]
    assert all(imported)
    assert imported[-1] == "playbooks/summarize-run.yml"


def test_playbooks_are_called_by_what_they_do() -> None:
    for path in ROOT.glob("playbooks/*.yml"):
        verb, _, noun = path.stem.partition("-")
        assert verb, path.name
        assert noun, path.name


# The check over HTTPS, where the controller is none of the visitors.

DOMAINS = ["one.example.test", "two.example.test", "three.example.test"]
SITES = [
    {"name": domain.split(".", 1)[0], "type": "static", "domain": domain, "source": {"folder": "/srv"}}
    for domain in DOMAINS
]


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if "two" in self.headers["Host"] and self.server.half_broken else 200)  # type: ignore[attr-defined]
        self.end_headers()
        self.wfile.write(b"<title>Hello</title>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    half_broken = False


@pytest.fixture
def certificate(inventory: Inventory) -> Path:
    """Put an authority into the state folder, and return its certificate, which is the sites' as well, with its key."""
    folder = inventory.state / "ca"
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime.now(UTC)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(domain) for domain in DOMAINS])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "both.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[_Server]:
    """Serve the three sites at all addresses of this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    http = _Server(("0.0.0.0", 0), _Page)  # noqa: S104 - an address of this machine that isn't the loopback
    http.socket = context.wrap_socket(http.socket, server_side=True)
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield http
    http.shutdown()
    http.server_close()


def ask(inventory: Inventory, port: int, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Ask the sites and sum up, as `make verify` and every run do at their end."""
    folder = inventory.write(["web"], slipway_sites=SITES, nginx_tls_https_port=port, **variables)
    books = [str(ROOT / "playbooks" / name) for name in ("check-sites.yml", "summarize-run.yml")]
    return ansible_playbook(*books, "-i", str(folder))


def test_sites_that_answer_pass_and_are_summed_up(inventory: Inventory, server: _Server) -> None:
    done = ask(inventory, server.server_port, slipway_address="127.0.0.1")
    assert done.returncode == 0, done.stdout
    assert "Notes" not in done.stdout
    assert done.stdout.count("valid until") == len(DOMAINS)


def test_where_this_machine_is_none_of_the_visitors_the_host_itself_is_asked(
    inventory: Inventory, server: _Server
) -> None:
    done = ask(inventory, server.server_port, slipway_address=NOWHERE)
    assert done.returncode == 0, done.stdout
    # A line says so at the end, and the summary is there all the same.
    note = done.stdout.partition("Notes")[2]
    assert f"vm1: {NOWHERE} port {server.server_port} is out of reach of this machine" in note
    assert done.stdout.count("valid until") == len(DOMAINS)
    assert (inventory.state / "summary.json").is_file()


def test_a_site_that_answers_wrong_fails_the_run_from_the_host_too(inventory: Inventory, server: _Server) -> None:
    server.half_broken = True
    done = ask(inventory, server.server_port, slipway_address=NOWHERE)
    assert done.returncode != 0
    (line,) = errors(done.stdout)
    assert "https://two.example.test/" in line
    assert "answered 503, wanted: [200]" in line
    assert "from the host itself" in line


@pytest.mark.usefixtures("certificate")
def test_sites_that_nobody_can_ask_fail_the_run_in_bounded_time(inventory: Inventory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        began = time.monotonic()
        done = ask(inventory, deaf.getsockname()[1], slipway_address="127.0.0.1")
    assert time.monotonic() - began < 100
    assert done.returncode != 0
    (line,) = errors(done.stdout)
    assert all(domain in line for domain in DOMAINS)
