"""Services in one task, by real runs of ansible-playbook on this machine, which change nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.repository import ROOT

FACTS = {"os_family": "Debian", "service_mgr": "systemd", "pkg_mgr": "apt"}
UNIT = {"name": "slipway-unit-test", "description": "One", "command": "/bin/sleep '1 %'", "watch": ["/etc/hostname"]}


def run(folder: Path, facts: dict[str, str], **variables: Any) -> subprocess.CompletedProcess[str]:
    """Use the role once in check mode, without starting anything."""
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_facts": facts},
        "tasks": [
            {
                "ansible.builtin.include_role": {"name": "service_unit"},
                "vars": {"service_unit_start": False, **variables},
            }
        ],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    return subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml", "--check", "--diff"],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.default",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STRATEGY": "linear",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_use_of_the_role_is_three_executions_and_shows_its_files(tmp_path: Path) -> None:
    done = run(tmp_path, FACTS, service_unit_units=[UNIT])
    assert done.returncode == 0, done.stdout + done.stderr
    # The inclusion, the check of the types, and all the rest.
    assert "ok=3 " in done.stdout.split("PLAY RECAP")[1]
    assert done.stdout.count("TASK [") == 3
    assert "+++ after: /etc/systemd/system/slipway-unit-test.service" in done.stdout
    assert '+ExecStart=/bin/sleep "1 %%"' in done.stdout
    assert not Path("/etc/systemd/system/slipway-unit-test.service").exists()


@pytest.mark.parametrize(
    ("facts", "variables", "said"),
    [
        ({}, {"service_unit_manager": "runit"}, "'runit' is not supported on localhost; allowed: systemd, openrc"),
        ({}, {"service_unit_manager": "openrc"}, "'openrc' was asked for, but localhost runs 'systemd'"),
        ({"os_family": "RedHat"}, {}, "the OS family 'RedHat' is not supported; allowed: Debian, Alpine"),
        ({}, {"service_unit_units": [{**UNIT, "command": "x"}]}, "'x' does not begin with an absolute path"),
    ],
)
def test_what_cannot_work_is_refused(
    tmp_path: Path, facts: dict[str, str], variables: dict[str, Any], said: str
) -> None:
    done = run(tmp_path, {**FACTS, **facts}, **variables)
    assert done.returncode != 0
    assert said in done.stdout
