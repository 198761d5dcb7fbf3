"""What the role host_ssh makes of its variables, by Ansible's own templating, and of what sshd says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.repository import ROOT
from tests.unit import running

SESSION = {"client": "192.0.2.9", "port": 22, "user": "operator", "version": "10.0", "own": {}}
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
