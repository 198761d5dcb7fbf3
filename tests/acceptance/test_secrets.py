"""Secrets: on the controller and on the target they are in files for those alone who need them, and nowhere else."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import lab_target, watching
from tests.acceptance.machine import Machine
from tests.acceptance.summary import Summary
from tests.repository import ROOT

# Everything but the programs of the distribution and the Engine's own folder, which has a test of its own.
FOLDERS = ("/etc", "/opt", "/srv", "/var", "/usr/local", "/home", "/root", "/tmp", "/run")
LOGS = ("/var/log", "/var/lib/docker/containers")
KEYS = "/etc/slipway/tls"


@pytest.fixture(scope="module")
def secrets(summary: Summary) -> dict[str, str]:
    found = {name: value for name, value in summary.secrets().items() if value}
    if not found:
        pytest.skip(f"{summary.secrets_dir} holds no secret: the inventory gives them all, or there is no need for one")
    return found


def test_the_controllers_files_are_its_owners_alone(summary: Summary) -> None:
    if not summary.secrets_dir.is_dir():
        pytest.skip(f"{summary.secrets_dir} is not there: no secret was made")
    assert summary.secrets_dir.stat().st_mode & 0o777 == 0o700
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in summary.secrets_dir.iterdir()}
    assert modes == dict.fromkeys(modes, "0o600")
    authority = summary.ca_certificate.with_suffix(".key")
    if authority.exists():
        assert authority.stat().st_mode & 0o777 == 0o600
        assert authority.parent.stat().st_mode & 0o777 == 0o700


def test_made_secrets_are_long_and_different(summary: Summary) -> None:
    """Those that the inventory gives are its own business."""
    made = {name: value for name, value in summary.made_secrets().items() if name not in summary.given}
    assert len(set(made.values())) == len(made), "two secrets are the same"
    assert [name for name, value in made.items() if len(value) < 12] == []


def test_the_summary_holds_no_secret(summary: Summary, secrets: dict[str, str]) -> None:
    assert summary.path.stat().st_mode & 0o777 == 0o600
    text = summary.path.read_text(encoding="utf-8")
    assert [name for name, value in secrets.items() if value in text] == []


@pytest.mark.lab
def test_git_knows_no_secret(summary: Summary, secrets: dict[str, str]) -> None:
    """Neither the working tree's tracked files nor any commit; the folder itself is ignored."""
    ignored = subprocess.run(["git", "check-ignore", "-q", summary.secrets_dir], cwd=ROOT, check=False)
    assert ignored.returncode == 0
    patterns = "\n".join(secrets.values())
    grep = ["git", "grep", "--untracked", "-lF", "-f", "-"]
    found = subprocess.run(grep, cwd=ROOT, input=patterns, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, ""), found.stdout + found.stderr
    assert lab_target.INVENTORY.is_file()


def _files(machine: Machine, secrets: dict[str, str], folders: tuple[str, ...]) -> list[dict[str, Any]]:
    text = json.dumps(secrets) + "\n" + json.dumps(folders) + "\n"
    found: list[dict[str, Any]] = json.loads(machine.feed(f"python3 -c {shlex.quote(watching.FILES)}", text))
    return found


def _journal(machine: Machine, words: Iterable[str]) -> int:
    """Return in how many lines of the journal one of the words is. The search is root's, and so is its file."""
    search = "words=$(mktemp) && cat >$words && { journalctl --no-pager --output=cat | grep -cF -f $words; rm $words; }"
    return int(machine.feed(search, "\n".join(words)))


def test_the_targets_files_are_for_those_who_need_them(machine: Machine, secrets: dict[str, str]) -> None:
    """On every host of the sites."""
    found = [one for target in machine.every() for one in _files(target, secrets, FOLDERS)]
    assert found, "no secret was found at all: the search itself is wrong"
    open_to_all = [one for one in found if one["mode"] & 0o007]
    assert open_to_all == []
    # Passwords of people are kept as hashes; only what programs need is there in plain.
    assert [one for one in found if any("_wordpress_" in name for name in one["names"])] == []


def test_no_log_holds_a_secret(machine: Machine, secrets: dict[str, str]) -> None:
    for target in machine.every():
        assert _files(target, secrets, LOGS) == []
        if target.service_manager == "systemd":
            assert _journal(target, ["systemd"]) > 0, "the search itself is wrong"
            assert _journal(target, secrets.values()) == 0


def test_keys_are_readable_for_their_servers_alone(machine: Machine) -> None:
    assert machine.run(f"stat -c '%U %a' {KEYS}") == "root 750"
    modes = machine.run(f"stat -c '%n %U %g %a' {KEYS}/*.key").splitlines()
    assert {line.split()[1] for line in modes} == {"root"}
    assert {line.split()[3] for line in modes} <= {"640", "600"}
    groups = {Path(line.split()[0]).stem: line.split()[2] for line in modes}
    assert groups.pop("ftp", "0") == "0"
    assert len(set(groups.values())) == 1


def test_no_process_shows_a_secret(machine: Machine, secrets: dict[str, str]) -> None:
    """Neither on its command line nor in its environment."""
    for target in machine.every():
        with target.background(watching.PROCESSES, json.dumps(secrets)) as end:
            seen = json.loads(end())
        assert seen["rounds"] >= 1
        assert seen["found"] == {}
