"""What the role host_ssh makes of its variables, by Ansible's own templating, and of what sshd says."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.parsers import parsers_with
from tests.repository import ROOT
from tests.unit import running
from tools.parsers import PACKAGES

# One who is everywhere.
USER = "daemon"
SESSION = {"client": "192.0.2.9", "port": 22, "user": USER, "version": "10.0", "own": {}}
CLOSED = dict.fromkeys(("PasswordAuthentication", "KbdInteractiveAuthentication", "PermitEmptyPasswords"), "no")
ROLE = ROOT / "roles/host_ssh"


def worked_out(folder: Path, *cases: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of the role in each case, a session and perhaps more variables."""
    show = "{{ {'settings': __host_ssh_settings, 'effective': __host_ssh_effective} | to_json }}"
    tasks = [
        {
            "ansible.builtin.copy": {"content": show, "dest": f"{folder}/{number}", "mode": "0644"},
            "vars": {**case, "__host_ssh_session": {**SESSION, **case.get("session", {})}},
        }
        for number, case in enumerate(cases)
    ]
    files = [ROLE / "defaults/main.yml", ROLE / "vars/main.yml", ROLE / "vars/Debian.yml"]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    play |= {"vars_files": [str(path) for path in files], "vars": {"ansible_facts": {"service_mgr": "systemd"}}}
    (folder / "play.yml").write_text(json.dumps([play]))
    running.playbook(folder)
    return [json.loads((folder / str(number)).read_text()) for number in range(len(cases))]


def test_a_run_does_not_shut_out_who_got_in_by_one_before(tmp_path: Path) -> None:
    """Two administrators take turns, and change nothing."""
    root = {"session": {"user": "root", "client": "192.0.2.8"}}
    own = {"permitrootlogin": "prohibit-password", "persourcepenaltyexemptlist": "192.0.2.8"}
    kept = {"permitrootlogin": "prohibit-password", "persourcepenaltyexemptlist": "192.0.2.8,192.0.2.9"}
    found = worked_out(
        tmp_path,
        root,
        {"session": {"own": own}},
        {"session": {"user": "root", "client": "192.0.2.8", "own": kept}},
        {"session": {"own": kept}, "host_ssh_permit_root_login": "no", "host_ssh_penalty_exempt": ["192.0.2.0/24"]},
        {},
    )
    both = ("PermitRootLogin", "PerSourcePenaltyExemptList")
    assert [tuple(one["settings"][name] for name in both) for one in found] == [
        ("prohibit-password", "192.0.2.8"),
        ("prohibit-password", "192.0.2.8,192.0.2.9"),
        ("prohibit-password", "192.0.2.8,192.0.2.9"),
        ("no", "192.0.2.0/24"),
        ("no", "192.0.2.9"),
    ]


@pytest.mark.parametrize("release", PACKAGES)
def test_it_is_noticed_who_else_gets_in(tmp_path: Path, release: str) -> None:
    parsers, sshd = parsers_with(release, "sshd")
    with tempfile.TemporaryDirectory(prefix="slipway-", dir=parsers.root / "tmp") as made:
        folder = Path(made)
        inside = f"/{folder.relative_to(parsers.root)}"
        (folder / "sshd").write_text(f'#!/bin/sh\nexec {shlex.join(parsers.command(sshd))} -f {inside}/config "$@"\n')
        (folder / "sshd").chmod(0o755)
        ready = f"mkdir -p -m 0755 {parsers.root}/run/sshd"
        told = {"__host_ssh_sshd": f"{folder}/sshd", "__host_ssh_ready": ready}
        operator, root = worked_out(tmp_path, told, {**told, "session": {"user": "root"}})
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True)
        ours = [f"{name} {value}" for name, value in CLOSED.items()]

        def fault(case: dict[str, Any], *others: str, before: str = "") -> str:
            """Return what is said of our settings among others."""
            login = f"PermitRootLogin {case['settings']['PermitRootLogin']}"
            lines = [f"HostKey {inside}/key", before, *ours, login, *others, ""]
            (folder / "config").write_text("\n".join(lines))
            done = subprocess.run(["sh", "-c", case["effective"]], capture_output=True, text=True, check=False)
            assert bool(done.stdout) == bool(done.returncode), done
            return done.stdout

        assert fault(operator) == fault(root) == ""
        # Those who are not asked for.
        assert fault(operator, "Match User anne Address 198.51.100.0/24", "PasswordAuthentication yes") == ""
        for setting in ("PasswordAuthentication", "KbdInteractiveAuthentication", "PermitEmptyPasswords"):
            assert f"'{setting.lower()} no' is overridden" in fault(operator, before=f"{setting} yes")
            assert f"overridden for {USER}" in fault(operator, f"Match User {USER}", f"{setting} yes")
            assert "overridden for root" in fault(operator, "Match Address 192.0.2.0/24", f"{setting} yes")
        assert "'permitrootlogin no' is overridden" in fault(operator, before="PermitRootLogin prohibit-password")
        assert "'permitrootlogin no' is" in fault(operator, "Match LocalPort 22", "PermitRootLogin yes")
        assert "'permitrootlogin without-password' is" in fault(root, "Match User root", "PermitRootLogin yes")
        assert "NoSuchOption" in fault(operator, "NoSuchOption yes")
