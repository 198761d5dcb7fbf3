"""What `make verify` hands to its tests: how one becomes root, and the secrets that the inventory gives."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.machine import ASKING, NoRoot, PinnedBackend
from tests.acceptance.summary import Ssh, read, read_access
from tests.repository import ROOT

VAULT_PASSWORD = "the password of the vault"
SUDO_PASSWORD = 'sudo\'s own: $HOME "quoted" \\ #7'
CACHE_PASSWORD = "given by the inventory"
SITES = [
    {
        "name": "blog",
        "cache_password": CACHE_PASSWORD,
        "admin": {"name": "captain", "password": "the captain's"},
        "users": [{"name": "mate", "password": "the mate's"}],
    },
    {"name": "docs"},
]
PLAY = [
    {
        "hosts": "all",
        "gather_facts": False,
        "become": True,
        "tasks": [
            {
                "name": "Note",
                "note_access": {"folder": "{{ lookup('env', 'SLIPWAY_VERIFY_DIR') }}", "sites": "{{ sites }}"},
                "no_log": True,
            }
        ],
    }
]


def note(folder: Path, *arguments: str, inventory: dict[str, Any]) -> tuple[str, Path]:
    """Run the task for these hosts; return what was printed, and the folder with what was noted."""
    access = folder / "access"
    access.mkdir()
    (folder / "play.yml").write_text(json.dumps(PLAY))
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": inventory, "vars": {"sites": SITES}}}))
    program = str(Path(sys.executable).parent / "ansible-playbook")
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_ACTION_PLUGINS": str(ROOT / "tests" / "action_plugins"),
        "SLIPWAY_VERIFY_DIR": str(access),
    }
    done = subprocess.run(
        [program, "-vvv", "play.yml", "-i", "hosts.json", "-c", "local", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr, access


def test_a_password_that_is_asked_for_comes_through(tmp_path: Path) -> None:
    """One that is no variable, as with -K."""
    asked = tmp_path / "asked"
    asked.write_text(SUDO_PASSWORD)
    own = {"ansible_become_password": "another one"}
    printed, access = note(tmp_path, "--become-password-file", str(asked), inventory={"vm1": {}, "vm2/x": own})
    assert {oct(path.stat().st_mode & 0o777) for path in access.iterdir()} == {"0o600"}
    found = read_access(access)
    assert {name: one["become_password"] for name, one in found.items()} == {
        "vm1": SUDO_PASSWORD,
        "vm2/x": "another one",
    }
    # Neither printed nor kept.
    assert [word for word in (SUDO_PASSWORD, "another one", CACHE_PASSWORD, "the mate's") if word in printed] == []
    assert list(access.iterdir()) == []


def test_secrets_of_the_inventory_are_known_by_their_names(tmp_path: Path) -> None:
    _, access = note(tmp_path, inventory={"vm1": {}})
    assert read_access(access)["vm1"]["secrets"] == {
        "blog_cache_password": CACHE_PASSWORD,
        "blog_wordpress_captain": "the captain's",
        "blog_wordpress_mate": "the mate's",
    }


def ssh(name: str) -> dict[str, Any]:
    return {"name": name, "host": f"{name}.test", "port": 22, "user": "operator", "private_key": "", "known_hosts": ""}


@pytest.fixture
def two_hosts(tmp_path: Path) -> Path:
    """Return the summary of two providers in one inventory, each with a site of its own; a database is elsewhere."""
    site = {"type": "wordpress", "domain": "a.test", "url": "https://a.test", "address": "127.0.0.1", "port": 1}
    path = tmp_path / "summary.json"
    made = {
        "sites": [{**site, "name": "one", "host": "vm1"}, {**site, "name": "two", "host": "vm2"}],
        "certificates": [
            {"host": "vm1", "name": "one", "names": ["a.test"]},
            {"host": "vm2", "name": "two", "names": ["b.test"]},
        ],
        "ca_certificate": "ca.crt",
        "secrets_dir": str(tmp_path / "none"),
        "hosts": [
            {"name": "vm1", "provider": "compose", "ssh": ssh("vm1"), "backends": {"database": ssh("vm1")}},
            {"name": "vm2", "provider": "native", "ssh": ssh("vm2"), "backends": {"database": ssh("vm3"), "cache": {}}},
        ],
    }
    path.write_text(json.dumps(made))
    return path


def test_each_host_is_known_by_what_the_run_made_of_it(two_hosts: Path) -> None:
    access = {name: {"become_password": f"{name}'s own", "secrets": {"x": "y-y-y-y"}} for name in ("vm1", "vm2", "vm3")}
    one, two = read(two_hosts, access)
    assert ([found.name for found in one.sites], one.provider, one.ssh.name) == (["one"], "compose", "vm1")
    assert ([found.name for found in two.sites], two.provider, two.ssh.name) == (["two"], "native", "vm2")
    assert (one.backends, two.names) == ({}, {"two": ["b.test"]})
    assert two.backends["database"].become_password == "vm3's own"
    assert two.secret("x") == "y-y-y-y"
    # Neither a failing test nor a log shows it.
    assert "vm3's own" not in repr(two)
    # With --limit, the others are left out.
    assert [found.ssh.name for found in read(two_hosts, {"vm2": {}})] == ["vm2"]
    with pytest.raises(ValueError, match="no host"):
        read(two_hosts, {})


def test_each_test_is_for_a_site_and_the_host_that_serves_it(two_hosts: Path) -> None:
    """Nothing is there, so it shows by what is skipped, and why the rest can't be asked."""
    cache, replicas = (f"tests/acceptance/test_{name}.py" for name in ("cache", "replicas"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--summary", two_hosts, cache, replicas],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    for test in ("test_page_views_hit_the_cache", "test_every_container_serves"):
        found = {line.partition("[")[2].partition("]")[0] for line in lines if f"::{test}[" in line}
        assert found == {"vm1-one", "vm2-two"}, done.stdout
    why = [line for line in lines if "test_every_container_serves[vm2-two]" in line]
    assert "SKIPPED" in why[0]
    assert "the provider native has no containers" in done.stdout
    # The other host is asked for its containers, and isn't there.
    why = [line for line in lines if "test_every_container_serves[vm1-one]" in line]
    assert "ERROR" in why[0]


def test_make_verify_removes_what_it_hands_over() -> None:
    """Whatever ends it."""
    recipe = subprocess.run(
        ["make", "--no-print-directory", "-n", "verify"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "umask 077" in recipe
    assert re.search(r"SLIPWAY_VERIFY_DIR=\$\(mktemp -d\)", recipe)
    assert re.search(r"trap 'rm -rf \"\$SLIPWAY_VERIFY_DIR\"' EXIT", recipe)


def test_make_verify_gives_each_program_its_own_arguments() -> None:
    done = subprocess.run(
        ["make", "-n", "verify", "ARGS=--ask-vault-pass", "PYTEST_ARGS=-k tls"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    play, tests = done.stdout.split("python -m pytest")
    assert "--ask-vault-pass" in play.split("tests/verify.yml")[1]
    assert "--ask-vault-pass" not in tests
    assert "-k tls" in tests
    assert "-k tls" not in play


class Asking(PinnedBackend):
    """A host whose sudo asks for a password."""

    def _exec_command(self, command: bytes) -> tuple[int, bytes, bytes]:
        asked = command.decode().startswith(ASKING)
        return (0 if asked and self.password == SUDO_PASSWORD else 1), b"", b""


@pytest.mark.parametrize("password", [SUDO_PASSWORD, "", "another one"])
def test_sudo_gets_the_password_that_it_asks_for(password: str) -> None:
    host = Asking(Ssh("192.0.2.1", 22, "operator", "", "", become_password=password))
    if password == SUDO_PASSWORD:
        assert host.get_sudo_command("id", None).startswith(ASKING)
        assert host.password == password
        return
    with pytest.raises(NoRoot, match="make verify ARGS=-K"):
        host.get_sudo_command("id", None)
    # What didn't help is sent with no command.
    assert host.password == ""
