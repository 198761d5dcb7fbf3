"""What the module guarded_change does on a host, run as Ansible runs it, in a folder of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.guard import Guard
from plugins.modules import guarded_change
from tests.repository import ROOT, load


class Module:
    """What the module's functions use of Ansible's."""

    _diff = True
    tmpdir = "/tmp"

    def __init__(self, check: bool = False, **params: Any) -> None:
        """Take what a task says."""
        self.check_mode = check
        base: dict[str, Any] = {key: [] for key in ("requires", "folders", "files", "absent", "first_lines")}
        shell = {"same": "true", "save": "true", "apply": "true", "undo": "true"}
        self.params = {**base, **shell, "name": "probe", "seconds": 0, **params}


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    # By the name that the module knows it by.
    made: Guard = vars(guarded_change)["Guard"]("probe", tmp_path / "guard")
    return made


def change(guard: Guard, check: bool = False, **params: Any) -> dict[str, Any]:
    module: Any = Module(check, **params)
    return guarded_change.change(module, guard)


def file(path: Path, content: str = "after\n") -> dict[str, Any]:
    return {"path": str(path), "content": content, "mode": "0644", "owner": os.getuid(), "group": os.getgid()}


def test_a_change_that_was_kept_is_made_once(guard: Guard, tmp_path: Path) -> None:
    path, applied = tmp_path / "file", tmp_path / "applied"
    task: dict[str, Any] = {"files": [file(path)], "apply": f"echo x >>{applied}"}
    first = change(guard, **task)
    assert (first["changed"], first["armed"]) == (True, True)
    guard.keep(first["what"])
    assert change(guard, **task) == {"changed": False, "armed": False}
    assert applied.read_text() == "x\n"


def test_what_is_no_longer_in_force_is_brought_into_force_again(guard: Guard, tmp_path: Path) -> None:
    path, force = tmp_path / "file", tmp_path / "force"
    task: dict[str, Any] = {"files": [file(path)], "same": f"test -e {force}", "apply": f"touch {force}"}
    guard.keep(change(guard, **task)["what"])
    force.unlink()
    assert change(guard, **task)["changed"]
    assert force.exists()


def test_a_run_that_was_cut_begins_with_what_was_there(guard: Guard, tmp_path: Path) -> None:
    """What it is undone to must never be a state that nobody has tried."""
    path = tmp_path / "file"
    path.write_text("before\n")
    change(guard, files=[file(path, "cut\n")])
    change(guard, files=[file(path, "after\n")])
    guard.undo()
    assert path.read_text() == "before\n"


def test_what_cannot_be_brought_into_force_is_undone_at_once(guard: Guard, tmp_path: Path) -> None:
    path, undone = tmp_path / "file", tmp_path / "undone"
    failure = vars(guarded_change)["GuardError"]
    with pytest.raises(failure, match=r"probe: not changed, .*: no such option"):
        change(guard, files=[file(path)], apply="echo no such option >&2; false", undo=f"touch {undone}")
    assert not path.exists()
    assert undone.exists()
    assert not guard.armed


def test_a_rollback_that_fails_is_said_beside_what_it_was_for(guard: Guard, tmp_path: Path) -> None:
    failure = vars(guarded_change)["GuardError"]
    with pytest.raises(failure, match=r"not changed, .*: no such option; .*can't be restored .*: no server"):
        change(
            guard,
            files=[file(tmp_path / "file")],
            apply="echo no such option; false",
            undo="echo no server; false",
        )


def test_check_mode_changes_nothing_and_says_what_would_be(guard: Guard, tmp_path: Path) -> None:
    path = tmp_path / "file"
    result = change(guard, check=True, files=[file(path)])
    assert result["changed"]
    assert result["diff"][0]["after"].endswith("after\n")
    assert not path.exists()
    assert not guard.folder.exists()


def test_what_only_goes_away_is_no_change_where_it_never_was(guard: Guard, tmp_path: Path) -> None:
    assert not change(guard, absent=[str(tmp_path / "none")])["changed"]


# As the role host_ssh asks for it.
FIRST = {"line": "Include x", "pattern": load(ROOT / "roles/host_ssh/vars/main.yml")["__host_ssh_included"]}


@pytest.mark.parametrize(
    "text",
    [
        "Include /etc/ssh/sshd_config.d/*.conf\n",
        "# Port 22\n\n \t# all\n  include sshd_config.d/*.conf\nPort 22\n",
        "\r\nInclude /etc/ssh/sshd_config.d/00-slipway.conf\nInclude /etc/ssh/sshd_config.d/*.conf\n",
    ],
)
def test_a_line_that_does_as_well_is_enough(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sshd_config"
    path.write_text(text)
    assert guarded_change.with_first_line({"path": str(path), **FIRST}) == []


@pytest.mark.parametrize(
    "text",
    [
        "# Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n",
        # To sshd the first value counts.
        "# All\n\nPasswordAuthentication yes\nInclude /etc/ssh/sshd_config.d/*.conf\n",
        "Match User anne\n  Include /etc/ssh/sshd_config.d/*.conf\n",
    ],
)
def test_a_line_that_is_missing_comes_first(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sshd_config"
    path.write_text(text)
    path.chmod(0o600)
    (made,) = guarded_change.with_first_line({"path": str(path), **FIRST})
    assert made["content"] == f"Include x\n{text}"
    assert made["mode"] == "0600"
