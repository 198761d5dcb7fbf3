"""Several files at once: run as the module on this machine, and looked at as users would."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit import running

ME = {"owner": os.geteuid(), "group": os.getegid()}


def run(
    folders: list[dict[str, Any]],
    files: list[dict[str, Any]],
    *,
    absent: list[str] | None = None,
    check: bool = False,
) -> dict[str, Any]:
    """Run the module as Ansible does; return its result."""
    arguments = {
        "absent": absent or [],
        "folders": [{**ME, **one} for one in folders],
        "files": [{**ME, **one} for one in files],
        "_ansible_check_mode": check,
        "_ansible_diff": True,
    }
    result: dict[str, Any] = json.loads(running.module("managed_files", arguments))
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


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_to_be_gone_is_removed_and_shown_and_nothing_beside_it(tmp_path: Path, kind: str) -> None:
    old, beside = tmp_path / "old", tmp_path / "beside"
    beside.mkdir()
    (beside / "kept").write_text("kept")
    if kind == "file":
        old.write_text("secret")
    elif kind == "link":
        old.symlink_to(beside)
    else:
        old.mkdir()
        (old / "inside").write_text("secret")
        (old / "link").symlink_to(beside)
    checked = run([], [], absent=[str(old)], check=True)
    assert os.path.lexists(old)
    done = run([], [], absent=[str(old)])
    assert (checked["changed"], checked["paths"]) == (True, [str(old)])
    assert checked["diff"] == done["diff"]
    assert not os.path.lexists(old)
    assert (beside / "kept").read_text() == "kept"
    (difference,) = done["diff"]
    assert difference["before_header"] == str(old)
    assert (str(old / "inside") in difference["before"]) == (kind == "folder")
    assert (difference["after"], "secret" in str(difference)) == ("", False)
    again = run([], [], absent=[str(old), str(tmp_path / "never/there"), str(beside / "kept/below")])
    assert (again["changed"], again["paths"]) == (False, [])


def test_a_path_that_is_removed_may_be_written_as_another_kind(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/old").write_text("old")
    given = [{"path": str(tmp_path / "x"), "content": "new", "mode": "0644"}]
    assert run([], given, absent=[str(tmp_path / "x")])["changed"]
    assert (tmp_path / "x").read_text() == "new"


@pytest.mark.parametrize("path", ["/", "//", "/etc/..", "relative", ""])
def test_no_root_and_no_relative_path_is_removed(path: str) -> None:
    result = run([], [], absent=[path], check=True)
    assert result["failed"]
    assert "not the absolute path" in result["msg"]


def test_the_paths_that_changed_are_listed(tmp_path: Path, wanted: Any) -> None:
    every = [one["path"] for kind in wanted for one in kind]
    assert run(*wanted, check=True)["paths"] == every
    assert run(*wanted)["paths"] == every
    (tmp_path / "web/b.sh").chmod(0o600)
    assert run(*wanted)["paths"] == [str(tmp_path / "web/b.sh")]
    assert run(*wanted)["paths"] == []


@pytest.mark.parametrize("there", [False, True])
def test_names_that_nobody_has_yet_are_no_error_in_check_mode(tmp_path: Path, there: bool) -> None:
    names = {"owner": "nobody-at-all", "group": "no-group-at-all"}
    folders = [{"path": str(tmp_path / "web"), "mode": "0750", **names}]
    files = [{"path": str(tmp_path / "web/a"), "content": "a", "mode": "0640", **names}]
    if there:
        run([{**folders[0], **ME}], [{**files[0], **ME}])
    result = run(folders, files, check=True)
    assert result["paths"] == [str(tmp_path / "web"), str(tmp_path / "web/a")]
    assert "owner: nobody-at-all\ngroup: no-group-at-all\n" in result["diff"][0]["after"]
    assert run(folders, files)["failed"]


def test_a_file_is_validated_before_anything_is_changed(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "b.conf").write_text("good before")
    check = "grep -q good %s"
    good = {"path": str(tmp_path / "a.conf"), "content": "good", "mode": "0644", "validate": check}
    bad = {"path": str(tmp_path / "b.conf"), "content": "wrong", "mode": "0644", "validate": f"{check} nowhere-at-all"}
    folders = [{"path": str(tmp_path / "new"), "mode": "0755"}]
    result = run(folders, [good, bad], absent=[str(tmp_path / "old")])
    assert result["failed"]
    assert result["msg"].startswith(f"{tmp_path}/b.conf: failed to validate: ")
    assert "nowhere-at-all" in result["msg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.conf", "old"]
    assert (tmp_path / "b.conf").read_text() == "good before"
    assert run(folders, [good, bad], absent=[str(tmp_path / "old")], check=True)["changed"]
    assert run(folders, [good, {**bad, "content": "good", "validate": check}], absent=[str(tmp_path / "old")])[
        "changed"
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.conf", "b.conf", "new"]
    # What is right already isn't asked for again.
    assert not run([], [{**good, "validate": "false %s"}])["changed"]


def test_what_is_validated_has_the_file_s_name_and_is_the_user_s_alone(tmp_path: Path) -> None:
    (tmp_path / "look").write_text('echo "${1##*/} $(stat -c %a "$1") $(cat "$1")" >&2; exit 3\n')
    given = {"path": str(tmp_path / "a b.conf"), "content": "text", "mode": "0644"}
    result = run([], [{**given, "validate": f"sh {tmp_path}/look %s"}])
    assert result["msg"] == f"{tmp_path}/a b.conf: failed to validate: a b.conf 600 text"
    assert "must contain %s" in run([], [{**given, "validate": "true"}])["msg"]
