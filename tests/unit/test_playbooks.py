"""What can be said of the playbooks without a host, by ansible-playbook itself, and with this machine for a host."""

from __future__ import annotations

import json
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

from tests.repository import COMPONENTS, ROOT, load, playbooks

# Reserved for documentation: nobody answers there.
NOWHERE = "192.0.2.200"


def ansible_playbook(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), *arguments],
        cwd=cwd,
        env={
            **{name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"},
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "COLUMNS": "400",
            **environment,
        },
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
    # But for the whole, which has that name in every collection.
    for path in {*ROOT.glob("playbooks/*.yml")} - {ROOT / "playbooks/site.yml"}:
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
    books = [plan(folder.parent)]
    books += [str(ROOT / "playbooks" / name) for name in ("check-sites.yml", "summarize-run.yml")]
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


# Where Ansible would go on with less than the user gave it.


def test_from_another_folder_one_line_says_what_is_missing(tmp_path: Path) -> None:
    """Without ansible.cfg no module of ours is found."""
    book, inventory = str(ROOT / "site.yml"), str(ROOT / "inventory")
    done = ansible_playbook(book, "-i", inventory, cwd=tmp_path)
    assert done.returncode != 0
    (line,) = errors(done.stdout)
    assert f"ANSIBLE_CONFIG={ROOT}/ansible.cfg" in line
    assert str(ROOT) in line
    # What the line says works.
    done = ansible_playbook(book, "-i", inventory, "--syntax-check", cwd=tmp_path, ANSIBLE_CONFIG=f"{ROOT}/ansible.cfg")
    assert done.returncode == 0, done.stdout


def test_the_makefile_names_the_configuration_so_that_a_folder_for_all_to_write_does() -> None:
    shown = subprocess.run(
        ["make", "--no-print-directory", "--eval", "print-it: ; @echo $$ANSIBLE_CONFIG", "print-it"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.strip() == f"{ROOT}/ansible.cfg"


def test_an_inventory_file_alone_is_told_what_it_lacks(tmp_path: Path) -> None:
    file = tmp_path / "hosts.ini"
    file.write_text("[web]\nvm1\n")
    done = ansible_playbook("site.yml", "-i", str(file))
    (line,) = errors(done.stdout)
    assert "vm1: slipway_sites" in line
    assert f"-i inventory -i {file}" in line
    assert "PLAY [Install Python" not in done.stdout


CHECK = "playbooks/check-inventory.yml"
GROUPED = """
- import_playbook: {check}
- hosts: slipway
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{{{ group_names | to_json }}}}"
        dest: "{folder}/{{{{ inventory_hostname }}}}"
        mode: '0600'
"""


@pytest.mark.parametrize("limit", ["all", "vm1,db1"])
def test_a_host_of_the_group_slipway_serves_with_everything(inventory: Inventory, tmp_path: Path, limit: str) -> None:
    folder = inventory.write()
    content = yaml.safe_load((folder / "hosts.yml").read_text())["all"]
    content["hosts"] |= dict.fromkeys(["db1", "foreign"], content["hosts"]["vm1"])
    content["children"] = {"slipway": {"hosts": {"vm1": {}}}, "database": {"hosts": {"db1": {}}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": content}))
    book = tmp_path / "book.yml"
    book.write_text(GROUPED.format(check=ROOT / CHECK, folder=tmp_path))
    done = ansible_playbook(str(book), "-i", str(folder), "--limit", limit)
    assert done.returncode == 0, done.stdout
    everything = {component["group"] for component in COMPONENTS}
    assert set(json.loads((tmp_path / "vm1").read_text())) == everything | {"slipway"}
    assert json.loads((tmp_path / "db1").read_text()) == ["database", "slipway"]
    assert not (tmp_path / "foreign").exists()


def test_every_file_overrides_the_shipped_values(inventory: Inventory) -> None:
    (inventory.folder / "group_vars/all/local.yml").write_text("nginx_tls_https_port: 8443\n")
    (inventory.folder / "group_vars/all/Upper.yml").write_text("slipway_sockets_only: true\n")
    shown = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(inventory.write()), "--host", "vm1"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = yaml.safe_load(shown.stdout)
    assert found["nginx_tls_https_port"] == 8443
    assert found["slipway_sockets_only"] is True
    done = ansible_playbook(CHECK, "-i", str(inventory.folder))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("group_vars/all/own.yml", "slipway_sites: []", ["slipway_sites is set in", "own.yml", "sites.yml"]),
        ("group_vars/all.yml", "nginx_tls_https_port: 8443", ["all.yml is not read", "folder all"]),
        ("more.ini", "[all:vars]\nnginx_tls_https_port=8443", ["nginx_tls_https_port", "group all", "group_vars/all"]),
        ("more.yml", "web: {vars: {mariadb_memory_mb: 99}}", ["mariadb_memory_mb", "group web", "group_vars/all"]),
    ],
)
def test_a_value_that_would_get_lost_is_refused(
    inventory: Inventory, file: str, content: str, named: list[str]
) -> None:
    (inventory.folder / file).write_text(content + "\n")
    done = ansible_playbook(CHECK, "-i", str(inventory.write()))
    assert done.returncode != 0
    (line,) = errors(done.stdout)
    assert all(part in line for part in named), line


def test_what_wins_or_is_the_same_passes(inventory: Inventory) -> None:
    """Variables of the host, of a group's folder, of a vault, and in a file a value that is the same."""
    (inventory.folder / "group_vars/web").mkdir()
    (inventory.folder / "group_vars/web/a.yml").write_text("nginx_tls_https_port: 8443\nother: !vault x\n")
    (inventory.folder / "group_vars/all/vault.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n3132\n")
    (inventory.folder / "more.ini").write_text("[all:vars]\nslipway_provider=compose\n")
    done = ansible_playbook(CHECK, "-i", str(inventory.write(mariadb_memory_mb=99)), "--list-hosts")
    assert done.returncode == 0, done.stdout
    (inventory.folder / "group_vars/all/vault.yml").unlink()
    (inventory.folder / "group_vars/web/a.yml").write_text("nginx_tls_https_port: 8443\n")
    done = ansible_playbook(CHECK, "-i", str(inventory.folder))
    assert done.returncode == 0, done.stdout


def test_a_vault_without_its_password_is_one_line(inventory: Inventory, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("one\n")
    vault = inventory.folder / "group_vars/all/vault.yml"
    vault.write_text("vault_password: x\n")
    program = Path(sys.executable).parent / "ansible-vault"
    subprocess.run([program, "encrypt", "--vault-password-file", secret, vault], check=True, capture_output=True)
    folder = str(inventory.write())
    done = ansible_playbook(CHECK, "-i", folder)
    assert done.returncode != 0
    (line,) = (line for line in done.stdout.splitlines() if "ault" in line)
    assert line.startswith("[ERROR]: inventory: a file is encrypted by Ansible's Vault")
    assert "--ask-vault-pass" in line
    done = ansible_playbook(CHECK, "-i", folder, "--vault-password-file", str(secret))
    assert done.returncode == 0, done.stdout


DELEGATE = """
- import_playbook: {check}
- hosts: web
  gather_facts: false
  tasks:
    - community.crypto.openssl_privatekey: {{path: "{key}", type: Ed25519}}
      delegate_to: localhost
"""


@pytest.mark.parametrize("strategy", ["linear", "slipway_fast"])
def test_a_localhost_in_the_inventory_keeps_its_libraries(inventory: Inventory, tmp_path: Path, strategy: str) -> None:
    """Certificates are made on this machine, by the Python that has what they need."""
    folder = inventory.write()
    content = yaml.safe_load((folder / "hosts.yml").read_text())
    content["all"]["hosts"]["localhost"] = {"ansible_connection": "local"}
    # Any other Python than the one of the virtual environment.
    content["all"]["hosts"]["vm1"]["ansible_python_interpreter"] = "/usr/bin/false"
    (folder / "hosts.yml").write_text(yaml.safe_dump(content))
    book = tmp_path / "book.yml"
    book.write_text(DELEGATE.format(check=ROOT / CHECK, key=tmp_path / "key"))
    # Not named by the limit, as a user does who thinks of the host alone.
    done = ansible_playbook(str(book), "-i", str(folder), "--limit", "vm1", ANSIBLE_STRATEGY=strategy)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "key").is_file()


def test_a_checkout_in_a_path_with_a_blank_is_run_without_mitogen(inventory: Inventory, tmp_path: Path) -> None:
    checkout = tmp_path / "my servers"
    checkout.mkdir()
    # As a virtual environment that was made there has it.
    (checkout / "venv").symlink_to(Path(sys.executable).parents[1])
    (tmp_path / "book.yml").write_text(DELEGATE.format(check=ROOT / CHECK, key=tmp_path / "key"))
    python = str(checkout / "venv/bin" / Path(sys.executable).name)
    done = subprocess.run(
        [python, "-m", "ansible", "playbook", str(tmp_path / "book.yml"), "-i", str(inventory.write())],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_STRATEGY": "slipway_fast"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Without Mitogen" in done.stdout
    assert (tmp_path / "key").is_file()


PLANNED = """
- import_playbook: {root}/playbooks/check-inventory.yml
- hosts: slipway
  tasks:
    - plan: {{final: {final}}}
"""


def plan(folder: Path, *, final: bool = False) -> str:
    """Return a playbook that works out what each role is told, as every run does before its first change.

    A final plan is that of a run which nothing refuses any more.
    """
    path = folder / "plan.yml"
    path.write_text(PLANNED.format(root=ROOT, final=final))
    return str(path)


DERIVED = """
- hosts: web
  tasks:
    - ansible.builtin.copy: {{content: "{value}", dest: "{file}", mode: '0600'}}
"""


def derive(inventory: Inventory, value: str, home: Path, *, final: bool = False, **variables: Any) -> str:
    """Return what an expression of the playbooks comes to for a user of this machine."""
    book, file = home / "book.yml", home / "value"
    home.mkdir(exist_ok=True)
    book.write_text(DERIVED.format(value=value, file=file))
    done = ansible_playbook(plan(home, final=final), str(book), "-i", str(inventory.write(**variables)), HOME=str(home))
    assert done.returncode == 0, done.stdout
    return file.read_text()


def test_two_machines_with_one_name_are_two_owners_of_a_run(inventory: Inventory, tmp_path: Path) -> None:
    one, again, other = (derive(inventory, "{{ __slipway_owner }}", tmp_path / home) for home in ("a", "a", "b"))
    assert one == again
    assert one != other
    assert one.partition(" ")[0] == other.partition(" ")[0]


def test_the_room_for_images_is_looked_for_where_the_engine_keeps_them(inventory: Inventory, tmp_path: Path) -> None:
    variables: dict[str, Any] = {
        "slipway_provider": "compose",
        "container_stack_dir": "/opt/s",
        "container_stack_volumes_dir": "/v",
    }
    value = "{{ __slipway_disk_parts | list | to_json }}"
    assert "/var/lib/docker" in json.loads(derive(inventory, value, tmp_path / "a", **variables))
    found = json.loads(
        derive(inventory, value, tmp_path / "b", **variables, docker_engine_daemon_options={"data-root": "/mnt/engine"})
    )
    assert "/mnt/engine" in found
    assert "/var/lib/docker" not in found


def test_git_leaves_out_the_secrets_of_an_inventory_of_ones_own(inventory: Inventory, tmp_path: Path) -> None:
    state = tmp_path / "hosts/.slipway"
    done = ansible_playbook(plan(tmp_path, final=True), "-i", str(inventory.write(slipway_state_dir=str(state))))
    assert done.returncode == 0, done.stdout
    assert any((state / "secrets").iterdir())
    subprocess.run(["git", "init", "--quiet", state.parent], check=True)
    listed = subprocess.run(
        ["git", "add", "--all", "--dry-run"], cwd=state.parent, check=True, capture_output=True, text=True
    )
    assert listed.stdout == ""


@pytest.mark.parametrize(
    ("provider", "there", "absent"),
    [
        ("native", {"nginx", "mariadb-server", "python3-cryptography", "python3-pymysql"}, "vsftpd"),
        ("compose", {"mmdebstrap", "python3-cryptography", "python3-pymysql"}, "nginx"),
    ],
)
def test_packages_of_all_roles_are_installed_at_once(
    inventory: Inventory, tmp_path: Path, provider: str, there: set[str], absent: str
) -> None:
    """And what the other provider would install is not."""
    value = "{{ __slipway_packages | to_json }}"
    found = json.loads(derive(inventory, value, tmp_path / "a", final=True, slipway_provider=provider))
    assert there <= set(found)
    assert absent not in found
    assert len(set(found)) == len(found)


def test_a_playbook_by_itself_says_what_it_lacks(inventory: Inventory) -> None:
    """Without the plan a role would take its sites for none, and remove those that are there."""
    folder = str(inventory.write())
    for name in ("serve-web", "provide-database", "deploy-wordpress"):
        done = ansible_playbook(f"playbooks/{name}.yml", "-i", folder)
        assert done.returncode != 0
        assert any("run site.yml, which works out what each role is told" in line for line in errors(done.stdout))
        assert "changed=0" in done.stdout


SECRET = "hunter2-hunter2"


def test_the_plan_of_a_host_is_shown_without_secrets(inventory: Inventory) -> None:
    site = {
        "name": "blog", "type": "wordpress", "domain": "blog.example.test", "title": "Blog",
        "admin": {"name": "captain", "email": "captain@example.test", "password": SECRET},
    } | dict.fromkeys(("database_password", "cache_password", "ftp_password", "salt_seed"), SECRET)  # fmt: skip
    folder = inventory.write(slipway_sites=[site], nginx_tls_container_uid=20100)
    done = subprocess.run(
        ["make", "--no-print-directory", "plan", "HOST=vm1", f"INVENTORY={folder}", "ARGS=-vvv"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "php_fpm_wordpress_socket_gid: 20100" in done.stdout
    assert "priv: blog.*:ALL" in done.stdout
    assert "memory_mb:" in done.stdout
    # The inventory's own words alone, where Ansible shows the arguments of tasks.
    assert SECRET not in done.stdout + done.stderr
    assert not inventory.state.exists()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"mariadb_memory_mb": "much"}, "argument 'mariadb_memory_mb' is of type str"),
        ({"nginx_tls_https_port": [443]}, "argument 'nginx_tls_https_port' is of type"),
    ],
)
def test_the_plan_refuses_a_value_of_another_type(inventory: Inventory, variables: dict[str, Any], said: str) -> None:
    done = ansible_playbook(plan(inventory.folder.parent), "-i", str(inventory.write(**variables)))
    assert done.returncode != 0
    assert said in done.stdout


def without_packages(folder: Path, python: str) -> str:
    """Return a PATH by which no package manager is asked; a shell line says what Python answers."""
    folder.mkdir()
    for name, line in {"apt-get": "exit 0", "python3": python}.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_check_mode_passes_over_a_host_without_python(inventory: Inventory, tmp_path: Path) -> None:
    """As a fresh Alpine is one: nothing is known of it, and the run says so."""
    done = ansible_playbook(
        "site.yml", "-i", str(inventory.write()), "--check", PATH=without_packages(tmp_path / "bin", "exit 1")
    )
    assert done.returncode == 0, done.stdout
    assert "vm1: Python would be installed" in done.stdout


def test_an_undefined_name_within_the_sites_is_said_in_one_line(inventory: Inventory, tmp_path: Path) -> None:
    site = {"name": "docs", "type": "static", "domain": "docs.example.test", "source": {"folder": "{{ docs_folder }}"}}
    done = ansible_playbook(
        "playbooks/check-inventory.yml",
        "playbooks/validate-hosts.yml",
        "-i",
        str(inventory.write(slipway_sites=[site])),
        PATH=without_packages(tmp_path / "bin", f'exec {sys.executable} "$@"'),
    )
    assert done.returncode != 0
    assert "changed=0" in done.stdout
    (said,) = (line for line in errors(done.stdout) if "undefined" in line)
    assert said.endswith(
        "slipway_sites: uses a variable that is undefined for vm1; define it in the inventory or its Vault"
    )


APART = """
- hosts: front
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: >-
          {{{{ {{'database': php_fpm_wordpress_sites[0].database.host, 'clients': hostvars['back'].mariadb_clients,
               'backends': __slipway_summary_host.backends, 'mine': mariadb_users is defined}} | to_json }}}}
        dest: "{file}"
        mode: '0600'
"""


def test_hosts_apart_know_each_other(inventory: Inventory, tmp_path: Path) -> None:
    """What one is told holds addresses of the other, which the inventory has or the other's facts."""
    content = {
        "all": {
            "hosts": {
                "front": inventory.variables | {"slipway_private_address": "10.0.0.1"},
                "back": inventory.variables | {"slipway_private_address": "10.0.0.9", "ansible_port": 2222},
            },
            "children": {
                **{name: {"hosts": {"front": {}}} for name in ("web", "php", "ftp", "static")},
                **{name: {"hosts": {"back": {}}} for name in ("database", "cache")},
            },
        }
    }
    (inventory.folder / "group_vars/all/own.yml").write_text("slipway_provider: native\n")
    (inventory.folder / "hosts.yml").write_text(yaml.safe_dump(content))
    book, file = tmp_path / "book.yml", tmp_path / "value"
    book.write_text(APART.format(file=file))
    done = ansible_playbook(plan(tmp_path), str(book), "-i", str(inventory.folder))
    assert done.returncode == 0, done.stdout
    found = json.loads(file.read_text())
    assert found["database"] == "10.0.0.9"
    assert found["clients"] == ["10.0.0.1"]
    assert found["backends"]["cache"]["port"] == 2222
    # What the other's roles are told is none of its own.
    assert not found["mine"]


def test_a_host_is_hardened_by_whatever_changes_what_it_serves() -> None:
    """Ports and users of sites are the firewall's, too."""
    tags = {play["name"]: set(play["tags"]) for play in load(ROOT / "site.yml")}
    services = [name for name in tags if name.startswith(("Deploy", "Serve"))]
    assert len(services) == len({component["group"] for component in COMPONENTS} - {"docker_hosts"})
    assert [name for name in services if not tags[name] <= tags["Harden hosts"]] == []
