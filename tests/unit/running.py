"""Modules and playbooks, run on this machine as Ansible and its users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.repository import ROOT


def module(name: str, arguments: dict[str, Any]) -> str:
    """Return what a module prints when it is told this; arguments of Ansible's own begin with ``_ansible_``."""
    return subprocess.run(
        [sys.executable, "-m", f"plugins.modules.{name}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def playbook(folder: Path, *arguments: str) -> str:
    """Return what a run of ``play.yml`` in a folder prints; it must end well."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml", *arguments],
        cwd=folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
