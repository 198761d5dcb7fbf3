"""Several files at once: run as the module on this machine, and looked at as users would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ME = {"owner": os.geteuid(), "group": os.getegid()}


def run(folders: list[dict[str, Any]], files: list[dict[str, Any]], *, check: bool = False) -> dict[str, Any]:
    """Run the module as Ansible does; return its result."""
    arguments = {
        "folders": [{**ME, **one} for one in folders],
        "files": [{**ME, **one} for one in files],
        "_ansible_check_mode": check,
        "_ansible_diff": True,
    }
    done = subprocess.run(
        [sys.executable, "-m", "plugins.modules.managed_files"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def written(path: Path) -> tuple[int, int, int]:
    """Return what tells whether a file was written again."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns


@pytest.fixture
def wanted(tmp_path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    return (
        [{"path": str(tmp_path / "web"), "mode": "0750"}],
        [
            {"path": str(tmp_path / "web/a.conf"), "content": "one\n", "mode": "0644"},
            {"path": str(tmp_path / "web/b.sh"), "content": "two\n", "mode": "0755"},
        ],
    )


def test_a_second_time_changes_nothing(tmp_path: Path, wanted: Any) -> None:
    assert run(*wanted)["changed"]
    assert (tmp_path / "web").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "web/a.conf").read_text() == "one\n"
    assert (tmp_path / "web/b.sh").stat().st_mode & 0o777 == 0o755
    before = written(tmp_path / "web/a.conf")
    again = run(*wanted)
    assert not again["changed"]
    assert "diff" not in again
    assert written(tmp_path / "web/a.conf") == before
    assert sorted(path.name for path in (tmp_path / "web").iterdir()) == ["a.conf", "b.sh"]


@pytest.mark.parametrize("fault", ["content", "mode", "link", "gone"])
def test_one_that_differs_is_put_right_and_shown_and_no_other(tmp_path: Path, wanted: Any, fault: str) -> None:
    run(*wanted)
    path = tmp_path / "web/a.conf"
    other = written(tmp_path / "web/b.sh")
    if fault == "content":
        path.write_text("changed by hand\n")
    elif fault == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
        if fault == "link":
            path.symlink_to(tmp_path / "web/b.sh")
    checked = run(*wanted, check=True)
    assert checked["changed"]
    assert path.is_symlink() or not path.exists() or (path.read_text(), path.stat().st_mode & 0o777) != ("one\n", 0o644)
    done = run(*wanted)
    (difference,) = done["diff"]
    assert difference == checked["diff"][0]
    assert difference["after_header"] == str(path)
    assert difference["after"].endswith("one\n")
    assert difference["before"] != difference["after"]
    assert (path.is_symlink(), path.read_text(), path.stat().st_mode & 0o777) == (False, "one\n", 0o644)
    assert written(tmp_path / "web/b.sh") == other


def test_check_mode_on_a_bare_host_writes_nothing(tmp_path: Path, wanted: Any) -> None:
    result = run(*wanted, check=True)
    assert [one["after_header"] for one in result["diff"]] == [one["path"] for kind in wanted for one in kind]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"content": "x", "mode": "0644", "owner": "nobody-at-all"}, "nobody-at-all"),
        ({"content": "x", "mode": "rw"}, "rw"),
    ],
)
def test_what_cannot_be_is_refused_with_the_path(tmp_path: Path, item: dict[str, Any], message: str) -> None:
    result = run([], [{"path": str(tmp_path / "x"), **item}])
    assert result["failed"]
    assert str(tmp_path / "x") in result["msg"]
    assert message in result["msg"]


def test_a_folder_in_a_file_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    result = run([], [{"path": str(tmp_path / "x"), "content": "x", "mode": "0644"}])
    assert result["failed"]
    assert "is a folder" in result["msg"]


def test_what_a_cut_run_left_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".x.slipway-new").write_text("half")
    assert run([], [{"path": str(tmp_path / "x"), "content": "whole", "mode": "0600"}])["changed"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
