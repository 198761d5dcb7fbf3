"""Many assertions in one task, by real runs of ansible-playbook on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VARIABLES = {"ports": [1, 2], "number": 5, "doubled": "{{ number * 2 }}"}


def run(folder: Path, arguments: Any) -> subprocess.CompletedProcess[str]:
    play = {"hosts": "localhost", "gather_facts": False, "vars": VARIABLES, "tasks": [{"assertions": arguments}]}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    return subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "play.yml"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "400"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_what_holds_passes_and_what_it_would_say_is_never_worked_out(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        {
            "checks": [
                {"that": "number > 3", "fail_msg": "{{ nowhere }}"},
                {"that": ["doubled > 3", "number < 6"], "fail_msg": "{{ nowhere }}"},
                {"that": "nowhere == 1", "fail_msg": "x", "when": "number == 6"},
                {"that": "nowhere == 1", "fail_msg": "x", "when": ["number == 5", "ports == []"]},
                {"that": "item > 0", "fail_msg": "x", "loop": "{{ ports }}"},
                {"that": "false", "fail_msg": "x", "loop": []},
            ]
        },
    )
    assert done.returncode == 0, done.stdout


def test_all_that_fail_are_said_a_line_each(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        {
            "checks": [
                {"that": "number > 9", "fail_msg": "number: {{ number }} is too small"},
                {
                    "that": ["number > 3", "mine < 2"],
                    "fail_msg": "it is {{ mine }}",
                    "vars": {"mine": "{{ doubled }}"},
                },
                {"that": "item > 1", "fail_msg": "port {{ item }}", "loop": "{{ ports }}"},
                # It makes no sense any more, and isn't what is wrong.
                {"that": "nowhere == 1", "fail_msg": "x"},
            ]
        },
    )
    assert done.returncode == 2
    said = [line.strip() for line in done.stdout.partition("msg: |-")[2].splitlines()]
    assert said[1:4] == ["number: 5 is too small", "it is 10", "port 1"]
    assert "nowhere" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"checks": [{"that": "nowhere == 1", "fail_msg": "x"}]}, "'nowhere' is undefined"),
        ({"checks": [{"that": "number > 9", "fail_msg": "{{ nowhere }}"}]}, "'nowhere' is undefined"),
        ({"checks": [{"that": "true", "fail_msg": "x", "loop": "{{ nowhere }}"}]}, "'nowhere' is undefined"),
        ({"checks": [{"that": "true"}]}, "an assertion has that and fail_msg"),
        ({"checks": [{"that": "true", "fail_msg": "x", "whem": "true"}]}, "an assertion has that and fail_msg"),
        ({"check": []}, "assertions takes a list"),
        ({"checks": "{{ ports }}"}, "assertions takes a list"),
    ],
)
def test_what_can_not_be_worked_out_never_passes(tmp_path: Path, arguments: Any, said: str) -> None:
    done = run(tmp_path, arguments)
    assert done.returncode == 2
    assert said in done.stdout
