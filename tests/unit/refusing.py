"""What a role refuses before it changes anything, by a run of its checks alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.repository import ROOT


def refusal(folder: Path, role: str, **variables: Any) -> str:
    """Return what the checks of a role say of these variables, on one line; empty if nothing is refused.

    The playbook that asks them is written to ``folder``.
    """
    facts = {"os_family": "Debian", "distribution_major_version": "13", "processor_nproc": 2}
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_facts": facts, "ansible_python_interpreter": sys.executable},
            "tasks": [{"ansible.builtin.include_role": {"name": role, "tasks_from": "validate"}}],
        }
    ]
    (folder / "play.json").write_text(json.dumps(play), encoding="utf-8")
    program = str(Path(sys.executable).parent / "ansible-playbook")
    done = subprocess.run(
        [program, "-i", "localhost,", "-e", json.dumps(variables), str(folder / "play.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if done.returncode == 0 else " ".join((done.stdout + done.stderr).split())
