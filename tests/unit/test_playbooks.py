"""What can be said of the playbooks without a host, by ansible-playbook itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.repository import ROOT, load, playbooks


def ansible_playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


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
