"""Services of OpenRC: how they are, how ours take the place of the distribution's, and what of them goes away."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from .service_files import Changes, Wanted, marked, read, read_bytes, with_block
from .service_manager import Manager, Service, ServiceError, Status, stop
from .service_processes import LOG_LINES, age, alive, descendants, one_line, run

SCRIPTS = Path("/etc/init.d")
SETTINGS = Path("/etc/conf.d")
OPENRC_STATE = "/run/openrc"
# Status codes of OpenRC's supervise-daemon.sh.
OPENRC_CRASHED = 32
OPENRC_UNSUPERVISED = 64


class OpenRC(Manager):
    """A service of OpenRC, be its script OpenRC's own or an LSB one (Debian)."""

    @property
    def script(self) -> str:
        """Return the path of its script."""
        return f"/etc/init.d/{self.name}"

    def lsb(self) -> bool:
        """Say whether the script is none of OpenRC's: then its own word counts, OpenRC keeps no state of it."""
        return "openrc-run" not in read(self.script).partition("\n")[0]

    def option(self, key: str) -> int:
        """Return a number that the supervisor keeps, 0 when there is none."""
        text = read(f"{OPENRC_STATE}/options/{self.name}/{key}").strip()
        return int(text) if text.isdigit() else 0

    def supervisor(self) -> int:
        """Return the id of the living supervise-daemon, or 0."""
        text = read(f"/run/supervise-{self.name}.pid").strip()
        pid = int(text) if text.isdigit() else 0
        return pid if pid and alive(pid) and "supervise" in read(f"/proc/{pid}/comm") else 0

    def status(self) -> Status:
        """Look at the service; OpenRC tells the states apart by the code."""
        if not Path(self.script).is_file():
            return Status(exists=False)
        code, _ = run(["rc-service", self.name, "status"])
        broken = {OPENRC_CRASHED: "crashed", OPENRC_UNSUPERVISED: "unsupervised"}.get(code, "")
        supervisor = self.supervisor()
        started = 0.0
        if supervisor:
            started = time.time() - age(supervisor)
        elif not self.lsb():
            with contextlib.suppress(OSError):
                started = Path(f"{OPENRC_STATE}/started/{self.name}").lstat().st_mtime
        return Status(
            running=code == 0 or bool(broken),
            broken=broken,
            started=started,
            main_pid=self.option("child_pid") if supervisor else 0,
        )

    def act(self, verb: str) -> None:
        """Start, stop, restart or repair it."""
        if verb == "repair":
            # Neither start nor restart mends a lost supervisor: forget the state, end what is left, begin anew.
            left = self.option("child_pid")
            run(["rc-service", self.name, "stop"], self.timeout)
            run(["rc-service", self.name, "zap"])
            if left and alive(left):
                self.end(left)
            verb = "start"
        if verb == "stop" and self.lsb():
            # OpenRC calls an LSB service that the package manager started stopped, and would not stop it.
            self.call([self.script, "stop"])
            run(["rc-service", self.name, "zap"])
            return
        self.call(["rc-service", self.name, verb])

    def end(self, pid: int) -> None:
        """End a process that lost its supervisor, kindly first."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except OSError:
                return
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and alive(pid):
                time.sleep(0.1)

    def runlevels(self) -> list[str]:
        """Return the runlevels that hold it."""
        return sorted(path.parent.name for path in Path("/etc/runlevels").glob(f"*/{self.name}"))

    def enabled(self) -> bool:
        """Say whether any runlevel holds it."""
        return bool(self.runlevels())

    def enable(self, wanted: bool) -> None:
        """Put it into its runlevel, or take it out of all."""
        if wanted:
            # The network is up before the default one begins.
            self.call(["rc-update", "add", self.name, "boot" if self.service.early else "default"])
        else:
            self.call(["rc-update", "del", self.name, *self.runlevels()])

    def pids(self) -> set[int] | None:
        """Return what the supervisor started."""
        supervisor = self.supervisor()
        return descendants(supervisor) - {supervisor} if supervisor else None

    def log_tail(self) -> str:
        """Return the log's last lines."""
        log = self.service.log
        return "\n".join(read(log).splitlines()[-LOG_LINES:]) if log else ""


@dataclass
class Host:
    """What OpenRC's hosts differ in, and where ours lies.

    ``diverts``: the package manager can keep its file aside (dpkg), in ``aside``. Otherwise (apk) a copy is put there.
    Jobs lie in ``jobs``; cron knows them by a file each in ``cron_folder`` or by lines in ``cron_table``, the other is
    empty.
    """

    mark: str
    diverts: bool
    aside: Path
    jobs: Path
    cron_folder: str = ""
    cron_table: str = ""

    def diversions(self) -> set[str]:
        """Return the names of the scripts that are diverted. Raises ServiceError."""
        if not self.diverts:
            return set()
        code, out = run(["dpkg-divert", "--list", f"{SCRIPTS}/*"])
        if code not in (0, 1):
            raise ServiceError(f"dpkg-divert --list failed ({code}): {one_line(out)}")
        found = re.findall(r"diversion of (\S+) to (\S+)", out)
        return {Path(path).name for path, to in found if Path(to).parent == self.aside}

    def _divert(self, name: str, verb: str) -> None:
        argv = ["dpkg-divert", "--local", "--rename", "--divert", str(self.aside / name), verb, str(SCRIPTS / name)]
        code, out = run(argv)
        if code != 0:
            raise ServiceError(f"{' '.join(argv)} failed ({code}): {one_line(out)}")

    def gone(self, absent: list[str], prune: list[str], units: Iterable[str]) -> list[str]:
        """Return the names of what goes away, in the order of ``absent``."""
        found = set()
        for folder in (SCRIPTS, self.jobs) if prune else ():
            for path in folder.iterdir() if folder.is_dir() else ():
                if any(fnmatch(path.name, pattern) for pattern in prune) and marked(path, self.mark):
                    found.add(path.name)
        return [name for name in dict.fromkeys([*absent, *sorted(found)]) if name not in set(units)]

    def remove(self, name: str, diverted: set[str], changes: Changes) -> None:
        """Stop, disable and remove a service or job; the distribution's script and settings come back.

        Raises ServiceError or OSError.
        """
        stop(OpenRC(Service(name)), changes, disable=True)
        for path in (SCRIPTS / name, self.jobs / name):
            if marked(path, self.mark):
                changes.remove(path)
        if self.cron_folder:
            changes.remove(Path(self.cron_folder) / name)
        if self.cron_table:
            self._without_block(Path(self.cron_table), f"# {{mark}} Slipway {name}", changes)
        self._without_block(SETTINGS / name, "# {mark} Slipway", changes)
        if name in diverted:
            if changes.note(f"{name}: give back the distribution's script"):
                self._divert(name, "--remove")
        elif not self.diverts:
            # What apk had for the place while ours was in it is the newer one.
            kept = [path for path in (self.aside / name, SCRIPTS / f"{name}.apk-new") if path.is_file()]
            if kept:
                Wanted({"path": SCRIPTS / name, "content": read_bytes(kept[-1]), "mode": "0755"}).bring(changes)
            for path in kept:
                changes.remove(path)

    @staticmethod
    def _without_block(path: Path, marker: str, changes: Changes) -> None:
        before = read_bytes(path)
        after = with_block(before, marker, None)
        if after != before:
            mode = f"{path.stat().st_mode & 0o7777:04o}"
            Wanted({"path": path, "content": after, "mode": mode}).bring(changes)

    def take_over(self, name: str, diverted: set[str], changes: Changes) -> None:
        """Make room for a script of ours in the place of the distribution's. Raises ServiceError or OSError."""
        script = SCRIPTS / name
        ours = marked(script, self.mark)
        if not ours:
            # By the script that started it: ours knows nothing of the process.
            stop(OpenRC(Service(name)), changes, disable=False)
        if self.diverts:
            if name not in diverted and changes.note(f"{name}: divert the distribution's script"):
                self._divert(name, "--add")
        elif not ours and script.is_file():
            Wanted({"path": self.aside / name, "content": read_bytes(script), "mode": "0755"}).bring(changes)


def unsupervised(names: Iterable[str]) -> list[str]:
    """Return which of these services have a sysv script, which OpenRC can't supervise."""
    return sorted(name for name in names if "### BEGIN INIT INFO" in read(SCRIPTS / name))
