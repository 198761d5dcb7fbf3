"""Searches for files, each as Ansible's own module makes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plugins.modules.found_files import search
from tests.repository import ROOT

MARK = "; Written by Slipway"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (
        ("8.4/fpm/pool.d/blog.conf", f"{MARK}; changes are overwritten.\n"),
        ("8.4/fpm/pool.d/www.conf", "[www]\n"),
        ("8.4/fpm/pool.d/quoting.conf", f"[x] {MARK}\n"),
        ("8.4/fpm/pool.d/.hidden.conf", f"{MARK}\n"),
        ("8.4/fpm/conf.d/deep/90-slipway.ini", f"{MARK}\n"),
        ("8.4/fpm/conf.d/90-slipway.ini", f"\n{MARK}\n"),
        ("top.conf", f"{MARK}\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link.conf").symlink_to("top.conf")
    (tmp_path / "away").symlink_to("8.4")
    return tmp_path


SEARCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "content": (
        {"patterns": ["*.conf", "*slipway.ini"], "contains": MARK, "depth": 4},
        {"patterns": ["*.conf", "*slipway.ini"], "contains": MARK, "depth": 4, "recurse": True},
    ),
    "folders": ({"folders": True}, {"file_type": "directory"}),
    "one folder": ({"patterns": ["*.conf"]}, {"patterns": ["*.conf"]}),
}


def test_it_finds_what_the_module_for_one_search_finds(folder: Path) -> None:
    tasks = [
        {"ansible.builtin.find": {"paths": [str(folder), "/none/at/all"], **theirs}, "register": f"found{number}"}
        for number, (_, theirs) in enumerate(SEARCHES.values())
    ]
    said = {
        f"{number}": f"{{{{ found{number}.files | map(attribute='path') | sort }}}}" for number in range(len(SEARCHES))
    }
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False}
    tasks.append(
        {"ansible.builtin.copy": {"content": "{{ said | to_json }}", "dest": f"{folder}/said", "mode": "0600"}}
    )
    (folder / "play.yml").write_text(
        json.dumps([{**play, "vars": {"ansible_python_interpreter": sys.executable, "said": said}, "tasks": tasks}])
    )
    program = str(Path(sys.executable).parent / "ansible-playbook")
    done = subprocess.run(
        [program, "-i", "localhost,", str(folder / "play.yml")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    theirs = json.loads((folder / "said").read_text())
    for number, (name, (ours, _)) in enumerate(SEARCHES.items()):
        found = list(search({"paths": [str(folder), "/none/at/all"], **ours}))
        assert sorted(found) == theirs[str(number)], name
        assert found, name
