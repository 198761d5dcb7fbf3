#!/usr/bin/python
"""Ansible module: bring one service into its state and wait until it is ready, under systemd and OpenRC alike."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: service_unit_state
short_description: Starts, repairs or stops a service and waits until it is ready
description:
  - Starts what is stopped, repairs what OpenRC calls crashed or unsupervised, and restarts what runs by an older
    definition than the one on disk. Without any of these it changes nothing.
  - Then it waits until the main process lives and one of the service's own processes listens, or a command succeeds.
    OpenRC's start returns 0 for a daemon that died, so its word is no proof.
options:
  name: {type: str, required: true, description: Name of the service.}
  manager: {type: str, required: true, choices: [systemd, openrc], description: The service manager.}
  kind:
    type: str
    default: service
    choices: [service, oneshot, timer]
    description: What it is; only a service is restarted when its files changed, and only a service has a main process.
  state: {type: str, default: started, choices: [started, stopped], description: The wanted state.}
  enabled: {type: bool, description: Whether it starts at boot; as it is by default.}
  files:
    type: list
    elements: path
    default: []
    description: What it reads at start only. Changed since then, it is restarted.
  supervised: {type: bool, default: false, description: OpenRC only; refuse a service without supervise-daemon.}
  readiness:
    type: dict
    default: {}
    description: What shows that it is ready.
    options:
      port: {type: int, description: TCP port that it listens on.}
      socket: {type: path, description: Unix socket that it listens on.}
      command: {type: str, description: What succeeds once it is ready.}
      timeout: {type: int, default: 30, description: Seconds.}
  start_timeout: {type: int, default: 90, description: Seconds that a start, a restart or a stop may take.}
  log: {type: path, description: The service's log file, for the message of a failure. systemd has the journal.}
attributes:
  check_mode: {support: full}
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Bring the web server up
  service_unit_state:
    name: nginx
    manager: openrc
    enabled: true
    files: [/etc/init.d/nginx]
    readiness: {port: 443}
"""

RETURN = r"""
actions: {type: list, elements: str, returned: always, description: What was done, or would be.}
"""

# A daemon that can't start usually ends within this time, in seconds. One that answers a probe has shown more.
SETTLE = 2.0
SETTLE_PROBED = 0.5
LOG_LINES = 8
OPENRC_STATE = "/run/openrc"
# Status codes of OpenRC's supervise-daemon.sh.
OPENRC_CRASHED = 32
OPENRC_UNSUPERVISED = 64


class ServiceError(Exception):
    """Something that fails the task; its text is one line."""


def run(argv: list[str], timeout: int = 60) -> tuple[int, str]:
    """Run a command and return its code and all it printed; 124 when it took longer than ``timeout`` seconds.

    The output goes to a file: a daemon that keeps its starter's pipe open would hold up a reader for ever.
    """
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    with tempfile.TemporaryFile() as out:
        try:
            code = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                cwd="/",
                start_new_session=True,
                timeout=timeout,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = 124
        except OSError as err:
            return 127, f"{argv[0]}: {err.strerror}"
        out.seek(0)
        return code, out.read().decode(errors="replace")


def read(path: str) -> str:
    """Return the text of a small file, or nothing when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def one_line(text: str) -> str:
    """Join the last lines of a text, each once, without the colours of a terminal."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    lines = list(dict.fromkeys(line.strip() for line in plain.splitlines() if line.strip()))
    return " | ".join(lines[-LOG_LINES:])


# -- processes -----------------------------------------------------------------------------------------------------


def stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on (field 3 of proc(5)), or nothing when it is gone."""
    text = read(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if ")" in text else []


def alive(pid: int) -> bool:
    """Say whether the process exists and is no zombie."""
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def age(pid: int) -> float:
    """Return the seconds since the process started; 0 when it is gone. Clock steps don't matter."""
    fields = stat_fields(pid)
    if not fields:
        return 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / ticks)


def all_pids() -> list[int]:
    """Return the ids of all processes."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def descendants(root: int) -> set[int]:
    """Return the process and all its living children, theirs included."""
    parents = {}
    for pid in all_pids():
        fields = stat_fields(pid)
        if fields:
            parents[pid] = int(fields[1])
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


# -- listeners -----------------------------------------------------------------------------------------------------


def port_inodes(port: int, tables: Iterable[str]) -> set[str]:
    """Return the inodes of the TCP sockets that listen on ``port``, from /proc/net/tcp's text (proc_net_tcp.rst)."""
    found = set()
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            # Local address, state 0A is LISTEN, inode.
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def socket_inodes(path: str, table: str) -> set[str]:
    """Return the inodes of the Unix sockets that listen at ``path``, from /proc/net/unix's text.

    The table holds the path as the daemon spelled it: /var/run is /run.
    """

    def plain(name: str) -> str:
        return name[4:] if name.startswith("/var/run/") else name

    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split(None, 7)
        # The flag 00010000 is __SO_ACCEPTCON: it listens.
        if fields[3] == "00010000" and plain(fields[-1].strip()) == plain(path):
            found.add(fields[6])
    return found


def open_files(pid: int) -> list[str]:
    """Return what the process's file descriptors point to; nothing when it is gone."""
    links = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(str(entry.readlink()))
    return links


def holders(inodes: set[str], pids: Iterable[int]) -> set[int]:
    """Return which of the processes hold one of the sockets."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return {pid for pid in pids if any(link in wanted for link in open_files(pid))}


# -- service managers ----------------------------------------------------------------------------------------------


@dataclass
class Status:
    """How a service is: ``started`` is when it did, as seconds since the epoch, 0 if unknown."""

    exists: bool = True
    running: bool = False
    broken: str = ""
    started: float = 0.0
    main_pid: int = 0
    stale: bool = False


class Manager(ABC):
    """One service, as its manager sees it."""

    def __init__(self, params: dict[str, Any]) -> None:
        """Take the module's parameters."""
        self.name: str = params["name"]
        self.kind: str = params["kind"]
        self.log: str | None = params["log"]
        self.timeout: int = params["start_timeout"]

    @abstractmethod
    def status(self) -> Status:
        """Look at the service."""

    @abstractmethod
    def act(self, verb: str) -> None:
        """Start, stop, restart or repair it; raises ServiceError."""

    @abstractmethod
    def enabled(self) -> bool:
        """Say whether it starts at boot."""

    @abstractmethod
    def enable(self, wanted: bool) -> None:
        """Make it start at boot, or not; raises ServiceError."""

    @abstractmethod
    def pids(self) -> set[int] | None:
        """Return the service's own processes, or None when they can't be told from others."""

    @abstractmethod
    def log_tail(self) -> str:
        """Return the last lines of its log."""

    def call(self, argv: list[str]) -> None:
        """Run a command of the manager; raises ServiceError with what it said."""
        code, out = run(argv, self.timeout + 10)
        if code != 0:
            said = one_line(self.log_tail() or out)
            raise ServiceError(f"{' '.join(argv)} failed ({code}): {said}")


class Systemd(Manager):
    """A unit of systemd."""

    @property
    def unit(self) -> str:
        """Return the name with its ending."""
        return f"{self.name}.{'timer' if self.kind == 'timer' else 'service'}"

    def show(self) -> dict[str, str]:
        """Return the unit's properties."""
        names = "LoadState,ActiveState,MainPID,NeedDaemonReload,ActiveEnterTimestampMonotonic,ControlGroup"
        code, out = run(["systemctl", "show", self.unit, f"--property={names}"])
        if code != 0:
            raise ServiceError(f"systemctl show {self.unit} failed ({code}): {one_line(out)}")
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def status(self) -> Status:
        """Look at the unit."""
        shown = self.show()
        entered = int(shown.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        running = shown.get("ActiveState") in ("active", "reloading", "activating")
        return Status(
            exists=shown.get("LoadState") not in ("not-found", "masked"),
            running=running,
            started=time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + entered if entered else 0.0,
            main_pid=int(shown.get("MainPID") or 0),
            stale=shown.get("NeedDaemonReload") == "yes",
        )

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
        """Put it into the default runlevel, or take it out of all."""
        if wanted:
            self.call(["rc-update", "add", self.name, "default"])
        else:
            self.call(["rc-update", "del", self.name, *self.runlevels()])

    def pids(self) -> set[int] | None:
        """Return what the supervisor started."""
        supervisor = self.supervisor()
        return descendants(supervisor) - {supervisor} if supervisor else None

    def log_tail(self) -> str:
        """Return the log's last lines."""
        return "\n".join(read(self.log).splitlines()[-LOG_LINES:]) if self.log else ""


# -- readiness -----------------------------------------------------------------------------------------------------


def why_not_listening(manager: Manager, inodes: set[str], where: str) -> str:
    """Say why none of the service's own processes listens there; nothing when one does."""
    if not inodes:
        return f"nothing listens on {where}"
    own = manager.pids()
    if own is None or holders(inodes, own):
        return ""
    others = sorted(holders(inodes, all_pids()))
    names = ", ".join(f"{read(f'/proc/{pid}/comm').strip()} (pid {pid})" for pid in others[:3]) or "another process"
    return f"{where} is held by {names}, not by it"


def why_not_alive(manager: Manager, supervised: bool, settle: float) -> str:
    """Say why the service's main process can't be trusted to stay; nothing when it can."""
    status = manager.status()
    if status.broken or not status.running:
        return f"it is {status.broken or 'not running'}"
    if manager.kind != "service":
        return ""
    if not status.main_pid:
        return "no supervisor watches it" if supervised else ""
    if not alive(status.main_pid):
        return "its main process died"
    return "its main process keeps being started anew" if age(status.main_pid) < settle else ""


def why_not_answering(manager: Manager, probe: dict[str, Any]) -> str:
    """Say why the service doesn't serve; nothing when it does."""
    if probe.get("port"):
        tables = [read("/proc/net/tcp"), read("/proc/net/tcp6")]
        return why_not_listening(manager, port_inodes(probe["port"], tables), f"port {probe['port']}")
    if probe.get("socket"):
        inodes = socket_inodes(probe["socket"], read("/proc/net/unix"))
        return why_not_listening(manager, inodes, probe["socket"])
    if probe.get("command"):
        code, out = run(shlex.split(probe["command"]), timeout=10)
        return f"{probe['command']} failed ({code}): {one_line(out)}" if code else ""
    return ""


def wait_until_ready(manager: Manager, probe: dict[str, Any], supervised: bool, since: float) -> None:
    """Wait until it is ready; raises ServiceError when the time, counted from ``since`` (monotonic), is over."""
    seconds = probe.get("timeout") or 30
    settle = SETTLE_PROBED if any(probe.get(key) for key in ("port", "socket", "command")) else SETTLE
    while True:
        reason = why_not_alive(manager, supervised, settle) or why_not_answering(manager, probe)
        if not reason:
            return
        if time.monotonic() - since > seconds:
            said = one_line(manager.log_tail())
            raise ServiceError(f"not ready after {seconds} s: {reason}; its last log lines: {said or 'none'}")
        time.sleep(0.2)


# -- the module ----------------------------------------------------------------------------------------------------


def newer_than(files: Iterable[str], started: float) -> list[str]:
    """Return which files changed since ``started``. What lies in the future (a stepped clock) doesn't count."""
    now = time.time()
    found = []
    for path in files:
        try:
            changed = Path(path).stat().st_ctime
        except OSError:
            continue
        if started < changed <= now:
            found.append(path)
    return found


def plan(manager: Manager, params: dict[str, Any], status: Status) -> list[str]:
    """Return the verbs that lead to the wanted state."""
    verbs: list[str] = []
    if params["state"] == "stopped":
        if status.exists and status.running:
            verbs.append("stop")
    else:
        if status.stale:
            verbs.append("reload definition")
        if status.broken:
            verbs.append("repair")
        elif not status.running:
            verbs.append("start")
        elif manager.kind != "oneshot" and status.started and newer_than(params["files"], status.started):
            verbs.append("restart")
    if params["enabled"] is not None and status.exists and manager.enabled() != params["enabled"]:
        verbs.append("enable" if params["enabled"] else "disable")
    return verbs


def apply(manager: Manager, verbs: list[str]) -> None:
    """Do what was planned; raises ServiceError."""
    for verb in verbs:
        if verb in ("enable", "disable"):
            manager.enable(verb == "enable")
        else:
            manager.act(verb)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "manager": {"type": "str", "required": True, "choices": ["systemd", "openrc"]},
            "kind": {"type": "str", "default": "service", "choices": ["service", "oneshot", "timer"]},
            "state": {"type": "str", "default": "started", "choices": ["started", "stopped"]},
            "enabled": {"type": "bool"},
            "files": {"type": "list", "elements": "path", "default": []},
            "supervised": {"type": "bool", "default": False},
            "readiness": {
                "type": "dict",
                "default": {},
                "options": {
                    "port": {"type": "int"},
                    "socket": {"type": "path"},
                    "command": {"type": "str"},
                    "timeout": {"type": "int", "default": 30},
                },
            },
            "start_timeout": {"type": "int", "default": 90},
            "log": {"type": "path"},
        },
        supports_check_mode=True,
    )
    params = module.params
    manager: Manager = Systemd(params) if params["manager"] == "systemd" else OpenRC(params)
    verbs: list[str] = []
    try:
        status = manager.status()
        if not status.exists and params["state"] == "started":
            if module.check_mode:
                module.exit_json(changed=True, actions=["enable", "start"])
            raise ServiceError("there is no such service; is its package installed?")
        verbs = plan(manager, params, status)
        if not module.check_mode:
            since = time.monotonic()
            apply(manager, verbs)
            if params["state"] == "started" and manager.kind != "timer":
                supervised = params["supervised"] and params["manager"] == "openrc"
                wait_until_ready(manager, params["readiness"] or {}, supervised, since)
    except ServiceError as err:
        module.fail_json(msg=f"{params['name']}: {err}", changed=bool(verbs), actions=verbs)
    module.exit_json(changed=bool(verbs), actions=verbs)


if __name__ == "__main__":
    main()
