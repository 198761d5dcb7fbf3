"""Programs that Docker's runtime fails to start, run as the module on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit import running


def run(folder: Path, script: str, *, stdin: str = "", check: bool = False) -> dict[str, Any]:
    """Run a script by the module in a folder; return the module's result."""
    arguments = {"argv": ["sh", "-c", script], "chdir": str(folder), "stdin": stdin, "_ansible_check_mode": check}
    result: dict[str, Any] = json.loads(running.module("container_command", arguments))
    return result


def test_a_program_that_was_not_started_is_called_again_with_its_input(tmp_path: Path) -> None:
    result = run(tmp_path, "[ -e again ] || { touch again; exit 126; }; cat; echo no >&2", stdin="all of it")
    assert (result["rc"], result["stdout"], result["stderr"]) == (0, "all of it", "no")


def test_so_is_one_that_ended_before_it_read_its_input(tmp_path: Path) -> None:
    # More than a pipe holds.
    much = "x" * 1_000_000
    result = run(tmp_path, "[ -e again ] || { touch again; exit 1; }; wc -c", stdin=much)
    assert (result["rc"], result["stdout"]) == (0, "1000000")


def test_one_that_fails_is_called_once_and_tells_what_it_said(tmp_path: Path) -> None:
    result = run(tmp_path, "echo x >>calls; echo why >&2; exit 3")
    assert (result["failed"], result["rc"], result["stderr"]) == (True, 3, "why")
    assert (tmp_path / "calls").read_text() == "x\n"
    assert "directory" in run(tmp_path / "nowhere", "true")["msg"]


def test_check_mode_runs_nothing(tmp_path: Path) -> None:
    assert not run(tmp_path, "touch here", check=True)["changed"]
    assert list(tmp_path.iterdir()) == []
