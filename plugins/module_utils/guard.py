"""A change that undoes itself unless it is kept in time: what the module guarded_change does on a host.

All of it lies in a folder of the change: what was there before, a script that restores that, and a file C(armed) for as
long as the change is neither kept nor undone. Whoever renames that file, the script or a run, decides; the other one
finds it gone.
"""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .service_processes import one_line, run

ROOT = Path("/var/lib/slipway/guard")
# Where systemd is the service manager.
_SYSTEMD = Path("/run/systemd/system")
# What the script ends with where the change was kept or undone before; no program that it calls ends so.
_LOST = 75


class GuardError(Exception):
    """Something that fails the task; its text is one line."""


def digest(texts: Sequence[str]) -> str:
    """Return what tells one change from another."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def undoing(folder: Path, paths: Sequence[Path], undo: str) -> str:
    """Return a script that restores what was at the paths, and then does what C(undo) says.

    Each path's file of before is C(before-NUMBER); without one there was none. Folders stay. It does all of it, and
    fails where a part of it did.
    """
    lines = [
        f"GUARD={shlex.quote(str(folder))}",
        "export GUARD",
        f'[ -e "$GUARD/armed" ] || exit {_LOST}',
        # Somebody may have been faster in between.
        f'mv "$GUARD/armed" "$GUARD/undone" || {{ [ -e "$GUARD/armed" ] && exit 1; exit {_LOST}; }}',
        "failed=0",
    ]
    for number, path in enumerate(paths):
        name, new = shlex.quote(str(path)), shlex.quote(f"{path}.slipway-before")
        before = f'"$GUARD/before-{number}"'
        lines += [
            # By a rename, so that nobody reads half of it.
            f"if [ -f {before} ]; then cp -p {before} {new} && mv -f {new} {name} || failed=1",
            f"elif [ ! -d {name} ]; then rm -f {name} || failed=1; fi",
        ]
    return "\n".join([*lines, "{", undo, "} || failed=1", "exit $failed", ""])


class Guard:
    """One change, by its name."""

    def __init__(self, name: str, root: Path = ROOT) -> None:
        """Take the name, which is one of a file."""
        self.name = name
        self.folder = root / name
        self.unit = f"slipway-guard-{name.replace('_', '-')}"
        self._armed = self.folder / "armed"
        self._kept = self.folder / "kept"
        self._script = self.folder / "undo.sh"

    @property
    def armed(self) -> bool:
        """Whether the change is neither kept nor undone."""
        return self._armed.exists()

    def shell(self, line: str) -> tuple[int, str]:
        """Run a line in a shell that knows the folder as C(GUARD); return its code and what it printed."""
        return run(["sh", "-c", f"GUARD={shlex.quote(str(self.folder))}; export GUARD\n{line}"])

    def kept(self, what: str) -> bool:
        """Tell whether this is what was kept last."""
        return self._kept.exists() and self._kept.read_text(encoding="ascii") == what

    def begin(self, paths: Sequence[Path], save: str, undo: str, seconds: int) -> None:
        """Save what is there and arm the rollback, by a clock unless ``seconds`` is 0. Raises GuardError or OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path != self._kept:
                path.unlink()
        saved = [*paths, self._kept]
        for number, path in enumerate(saved):
            if path.is_file():
                shutil.copy2(path, self.folder / f"before-{number}")
                shutil.chown(self.folder / f"before-{number}", path.stat().st_uid, path.stat().st_gid)
        code, out = self.shell(save)
        if code != 0:
            raise GuardError(f"{self.name}: what is in force can't be saved ({code}): {one_line(out)}")
        self._script.write_text(undoing(self.folder, saved, undo), encoding="utf-8")
        # By a word of its own, so that the clock of an earlier change doesn't undo this one.
        self._armed.write_text(f"{time.monotonic_ns()}", encoding="ascii")
        if seconds:
            try:
                self._start_clock(seconds)
            except (GuardError, OSError):
                # Nothing is changed then, so nothing is to be undone, and what was kept still is.
                self._armed.unlink(missing_ok=True)
                raise
        self._kept.unlink(missing_ok=True)

    def _start_clock(self, seconds: int) -> None:
        """Have the script run after a while, whatever becomes of this run and its connection. Raises GuardError."""
        script = ["sh", str(self._script)]
        if _SYSTEMD.exists():
            self._stop_clock()
            begin = ["systemd-run", "--quiet", f"--unit={self.unit}", f"--on-active={seconds}", "--collect"]
            # As soon as it is due, not a minute later, which is what timers are rounded to.
            code, out = run([*begin, "--timer-property=AccuracySec=1s", *script])
            if code != 0:
                raise GuardError(f"{self.name}: the rollback can't be armed ({code}): {one_line(out)}")
            return
        mark, word = shlex.quote(str(self._armed)), self._armed.read_text(encoding="ascii")
        later = f'sleep {seconds}; [ "$(cat {mark})" != {word} ] || exec {shlex.join(script)}'
        # In a session of its own, which outlives that of this run; and nothing of this run's is kept open.
        subprocess.Popen(
            ["sh", "-c", later],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _stop_clock(self) -> None:
        if _SYSTEMD.exists():
            run(["systemctl", "stop", f"{self.unit}.timer"])

    def keep(self, what: str) -> None:
        """Disarm the rollback, and note what is kept. Raises GuardError where it has run already."""
        try:
            self._armed.rename(self.folder / "confirmed")
        except FileNotFoundError:
            raise GuardError(f"{self.name}: too late, what was before is restored already") from None
        self._stop_clock()
        self._kept.write_text(what, encoding="ascii")

    def undo(self) -> None:
        """Restore what was before at once, unless that is done or the change was kept. Raises GuardError."""
        code, out = run(["sh", str(self._script)])
        with suppress(OSError):
            self._stop_clock()
        if code not in (0, _LOST):
            raise GuardError(f"{self.name}: what was before can't be restored ({code}): {one_line(out)}")
