"""Which users have to be made or changed, told from the users of this machine."""

from __future__ import annotations

import grp
import json
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# A user whose group has its name and number, as on every system.
FOUND = pwd.getpwnam("root")
RIGHT = {"name": FOUND.pw_name, "uid": FOUND.pw_uid, "home": FOUND.pw_dir, "shell": FOUND.pw_shell}


def due(*users: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the module as Ansible does; return what it says is due."""
    done = subprocess.run(
        [sys.executable, "-m", "plugins.modules.system_users_due"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {"users": users}}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(done.stdout)
    assert not result["changed"]
    answer: list[dict[str, Any]] = result["due"]
    return answer


@pytest.mark.parametrize(
    "other", [{"uid": 20001}, {"home": "/elsewhere"}, {"shell": "/bin/other"}, {"name": "nobody-at-all"}]
)
def test_one_that_differs_is_due_and_no_other(other: dict[str, Any]) -> None:
    assert grp.getgrnam("root").gr_gid == FOUND.pw_gid
    wrong = {**RIGHT, **other}
    assert due(RIGHT, wrong) == [wrong]


def test_nothing_is_due_where_all_are_right() -> None:
    assert due(RIGHT) == []
