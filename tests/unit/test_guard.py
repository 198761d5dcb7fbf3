"""A change that undoes itself: what is restored when, with files and a real shell of this machine."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from plugins.module_utils import guard as guarding
from plugins.module_utils.guard import Guard, GuardError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    made = tmp_path / "it's a config"
    made.write_text("before\n")
    made.chmod(0o640)
    return made


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    return Guard("probe", tmp_path / "guard")


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + 10
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < end, f"{path}: never {text!r}"
        time.sleep(0.05)


def test_what_was_there_is_restored(config: Path, guard: Guard, tmp_path: Path) -> None:
    """Content, mode, what wasn't there, and what was in force."""
    new, force = tmp_path / "new", tmp_path / "force"
    force.write_text("old rules")
    guard.begin([config, new], f'cp "{force}" "$GUARD/force"', f'cp "$GUARD/force" "{force}"', 0)
    assert guard.armed
    config.write_text("after\n")
    config.chmod(0o600)
    new.write_text("after\n")
    force.write_text("new rules")
    guard.undo()
    assert (config.read_text(), config.stat().st_mode & 0o777) == ("before\n", 0o640)
    assert not new.exists()
    assert force.read_text() == "old rules"
    assert not guard.armed


def test_what_is_kept_is_never_restored(config: Path, guard: Guard) -> None:
    guard.begin([config], "true", "true", 0)
    config.write_text("after\n")
    guard.keep("what")
    guard.undo()
    assert config.read_text() == "after\n"
    assert guard.kept("what")
    assert not guard.kept("else")


def test_it_is_too_late_to_keep_what_was_undone(config: Path, guard: Guard) -> None:
    guard.begin([config], "true", "true", 0)
    guard.keep("first")
    guard.begin([config], "true", "true", 0)
    guard.undo()
    with pytest.raises(GuardError, match="too late"):
        guard.keep("second")
    # What was in force before that change is so again.
    assert guard.kept("first")


def test_the_clock_restores_without_anybody(
    config: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where no systemd is: a process of its own does it."""
    monkeypatch.setattr(guarding, "_SYSTEMD", tmp_path / "none")
    guard.begin([config], "true", "true", 1)
    config.write_text("after\n")
    assert guard.armed
    wait_for(config, "before\n")


def test_the_clock_passes_what_was_kept(
    config: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(guarding, "_SYSTEMD", tmp_path / "none")
    guard.begin([config], "true", "true", 1)
    config.write_text("after\n")
    guard.keep("what")
    # The script that the clock runs finds nothing to undo.
    assert subprocess.run(["sh", str(guard.folder / "undo.sh")], capture_output=True, check=False).returncode != 0
    assert config.read_text() == "after\n"


def test_what_cannot_be_saved_is_not_changed(config: Path, guard: Guard) -> None:
    with pytest.raises(GuardError, match="can't be saved"):
        guard.begin([config], "echo no >&2; exit 3", "true", 0)
    assert not guard.armed


def test_what_cannot_be_brought_into_force_again_is_said(config: Path, guard: Guard) -> None:
    guard.begin([config], "true", "echo no such rule >&2; false", 0)
    config.write_text("after\n")
    with pytest.raises(GuardError, match=r"can't be restored .*no such rule"):
        guard.undo()
    assert config.read_text() == "before\n"


def test_a_file_that_cannot_be_restored_is_said_and_the_others_are(config: Path, guard: Guard, tmp_path: Path) -> None:
    lost = tmp_path / "folder" / "lost"
    lost.parent.mkdir()
    lost.write_text("before\n")
    guard.begin([lost, config], "true", "true", 0)
    config.write_text("after\n")
    lost.unlink()
    lost.parent.rmdir()
    with pytest.raises(GuardError, match="can't be restored"):
        guard.undo()
    assert config.read_text() == "before\n"


def test_what_no_clock_would_restore_is_not_changed(
    config: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where systemd takes no further unit."""
    guard.begin([config], "true", "true", 0)
    guard.keep("first")
    monkeypatch.setattr(guarding, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(guarding, "run", lambda argv: (1, "no bus") if argv[0] == "systemd-run" else (0, ""))
    with pytest.raises(GuardError, match=r"the rollback can't be armed .*no bus"):
        guard.begin([config], "true", "true", 60)
    assert not guard.armed
    assert guard.kept("first")
