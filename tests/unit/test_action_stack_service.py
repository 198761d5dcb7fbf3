"""A declaration with expressions in it, worked out by a real run of ansible-playbook on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import ROOT

SECRET = "correct-horse-battery-staple"
PLAYBOOK = f"""
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    key: {SECRET}
    processors: '1.5'
    service:
      name: web
      dockerfile: "{{{{ lookup('ansible.builtin.template', 'web.Dockerfile.j2') }}}}"
      secrets:
        - {{name: web_key, content: "{{{{ key }}}}"}}
      services:
        web: {{networks: [backend], secrets: [web_key], cpus: "{{{{ processors | float }}}}", pids_limit: 7}}
  tasks:
    - stack_service:
        declaration: service
        dir: "{{{{ playbook_dir }}}}/stack"
        volumes_dir: "{{{{ playbook_dir }}}}/volumes"
        project: slipway
        docker: "{{{{ playbook_dir }}}}/docker"
        registry: slipway.invalid
        base: base
"""


@pytest.mark.parametrize("strategy", ["linear", "slipway.stack.slipway_fast"])
def test_a_declaration_is_worked_out_and_shows_no_secret(tmp_path: Path, strategy: str) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/web.Dockerfile.j2").write_text("FROM {{ processors }}\n")
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml", "--check", "--diff", "-vvv"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STRATEGY": strategy,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown
    assert "+FROM 1.5" in shown
    assert "+    cpus: 1.5" in shown
    assert "+    pids_limit: 7" in shown
    assert f"{tmp_path}/stack/secrets/web_key" in shown
    assert SECRET not in shown
    assert not (tmp_path / "stack").exists()
