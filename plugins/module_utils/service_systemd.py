"""Units of systemd: how they are, and what of them goes away."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from .service_files import Changes, marked, read
from .service_manager import Manager, Service, ServiceError, Status, stop
from .service_processes import LOG_LINES, all_pids, one_line, run

UNITS = Path("/etc/systemd/system")
PROPERTIES = "LoadState,ActiveState,MainPID,NeedDaemonReload,ActiveEnterTimestampMonotonic,ControlGroup"


class Systemd(Manager):
    """A unit of systemd."""

    @property
    def unit(self) -> str:
        """Return the name with its ending."""
        return f"{self.name}.{'timer' if self.kind == 'timer' else 'service'}"

    @classmethod
    def statuses(cls, managers: Sequence[Self]) -> list[Status]:
        """Look at several units with one question."""
        names = [manager.unit for manager in managers]
        code, out = run(["systemctl", "show", f"--property={PROPERTIES}", "--", *names])
        blocks = out.strip("\n").split("\n\n")
        if code != 0 or len(blocks) != len(names):
            raise ServiceError(f"systemctl show {' '.join(names)} failed ({code}): {one_line(out)}")
        return [cls._status(dict(line.split("=", 1) for line in block.splitlines() if "=" in line)) for block in blocks]

    @staticmethod
    def _status(shown: dict[str, str]) -> Status:
        """Return how a unit with these properties is."""
        entered = int(shown.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        running = shown.get("ActiveState") in ("active", "reloading", "activating")
        return Status(
            exists=shown.get("LoadState") not in ("not-found", "masked"),
            running=running,
            started=time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + entered if entered else 0.0,
            main_pid=int(shown.get("MainPID") or 0),
            stale=shown.get("NeedDaemonReload") == "yes",
        )

    def status(self) -> Status:
        """Look at the unit."""
        return self.statuses([self])[0]

    def act(self, verb: str) -> None:
        """Start, stop or restart it; what failed before may fail anew."""
        if verb == "reload definition":
            self.call(["systemctl", "daemon-reload"])
            return
        run(["systemctl", "reset-failed", self.unit])
        self.call(["systemctl", "restart" if verb == "repair" else verb, self.unit])

    def enabled(self) -> bool:
        """Say whether it starts at boot."""
        code, out = run(["systemctl", "is-enabled", self.unit])
        return code == 0 and out.strip() not in ("static", "indirect")

    def enable(self, wanted: bool) -> None:
        """Make it start at boot, or not."""
        self.call(["systemctl", "enable" if wanted else "disable", self.unit])

    def pids(self) -> set[int] | None:
        """Return what is in the unit's control group."""
        own = re.compile(rf"/{re.escape(self.unit)}(/|$)", re.MULTILINE)
        return {pid for pid in all_pids() if own.search(read(f"/proc/{pid}/cgroup"))}

    def log_tail(self) -> str:
        """Return the journal's last lines of the service itself; systemd's own about it when it printed none."""
        shown = ["journalctl", "--lines", str(LOG_LINES), "--output", "cat", "--no-pager", "--quiet"]
        return run([*shown, f"_SYSTEMD_UNIT={self.unit}"])[1] or run([*shown, f"--unit={self.unit}"])[1]


def gone(absent: list[str], prune: list[str], units: dict[str, bool], mark: str) -> list[str]:
    """Return the names of the unit files of ours that nothing declares any more, timers first.

    ``units`` are those that are declared: whether each has a timer, which one that lost it hasn't.
    """
    declared = {f"{name}.service" for name in units} | {f"{name}.timer" for name, timed in units.items() if timed}
    names = {f"{name}{end}" for name in absent for end in (".service", ".timer")}
    names |= {f"{name}.timer" for name in units}
    patterns = [f"{pattern}{end}" for pattern in prune for end in (".service", ".timer")]
    if patterns:
        names |= {path.name for path in UNITS.iterdir() if any(fnmatch(path.name, pattern) for pattern in patterns)}
    return sorted((name for name in names - declared if marked(UNITS / name, mark)), reverse=True)


def remove(absent: list[str], prune: list[str], units: dict[str, bool], mark: str, changes: Changes) -> None:
    """Stop, disable and remove what goes away; of the distribution's services, what they got on top.

    Raises ServiceError or OSError.
    """
    ours = gone(absent, prune, units, mark)
    for name in dict.fromkeys([*ours, *(f"{name}.service" for name in absent)]):
        stem, _, kind = name.rpartition(".")
        stop(Systemd(Service(stem, kind)), changes, disable=True)
    for path in [*(UNITS / name for name in ours), *(UNITS / f"{name}.service.d/slipway.conf" for name in absent)]:
        changes.remove(path)


def read_again(changes: Changes) -> None:
    """Have systemd read its units again if any of them changed. Raises ServiceError."""
    if changes.check or not any(path.startswith(f"{UNITS}/") for path in changes.paths):
        return
    code, out = run(["systemctl", "daemon-reload"])
    if code != 0:
        raise ServiceError(f"systemctl daemon-reload failed ({code}): {one_line(out)}")
