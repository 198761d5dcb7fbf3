"""A service as its manager sees it, what leads to its wanted state, and how one knows that it is ready."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .service_files import Changes, read
from .service_processes import age, alive, all_pids, holders, one_line, port_inodes, run, socket_inodes

# A daemon that can't start usually ends within this time, in seconds. One that answers a probe has shown more.
SETTLE = 2.0
SETTLE_PROBED = 0.5


class ServiceError(Exception):
    """Something that fails the task; its text is one line."""


@dataclass
class Service:
    """What is known of one service.

    ``kind`` is service, oneshot or timer: only a service is restarted when its files changed, and only a service has a
    main process. ``files`` are what it reads at start only. ``start_timeout`` is in seconds, ``log`` its log file where
    there is no journal. ``early`` starts before the network comes up.
    """

    name: str
    kind: str = "service"
    files: list[str] = field(default_factory=list)
    supervised: bool = False
    readiness: dict[str, Any] = field(default_factory=dict)
    start_timeout: int = 90
    log: str = ""
    early: bool = False


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

    def __init__(self, service: Service) -> None:
        """Look after this service."""
        self.service = service
        self.name = service.name
        self.kind = service.kind
        self.timeout = service.start_timeout

    @classmethod
    def statuses(cls, managers: Sequence[Self]) -> list[Status]:
        """Look at several services, at once where the manager can."""
        return [manager.status() for manager in managers]

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


def why_not_alive(manager: Manager, status: Status, settle: float) -> str:
    """Say why the service's main process can't be trusted to stay; nothing when it can."""
    if status.broken or not status.running:
        return f"it is {status.broken or 'not running'}"
    if manager.kind != "service":
        return ""
    if not status.main_pid:
        return "no supervisor watches it" if manager.service.supervised else ""
    if not alive(status.main_pid):
        return "its main process died"
    return "its main process keeps being started anew" if age(status.main_pid) < settle else ""


def why_not_answering(manager: Manager) -> str:
    """Say why the service doesn't serve; nothing when it does."""
    probe = manager.service.readiness
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


def wait_until_ready(manager: Manager, status: Status | None, since: float) -> None:
    """Wait until it is ready; raises ServiceError when the time, counted from ``since`` (monotonic), is over.

    ``status`` is how it was found a moment ago, if nothing was done to it since.
    """
    probe = manager.service.readiness
    seconds = probe.get("timeout") or 30
    settle = SETTLE_PROBED if any(probe.get(key) for key in ("port", "socket", "command")) else SETTLE
    while True:
        reason = why_not_alive(manager, status or manager.status(), settle) or why_not_answering(manager)
        status = None
        if not reason:
            return
        if time.monotonic() - since > seconds:
            said = one_line(manager.log_tail())
            raise ServiceError(f"not ready after {seconds} s: {reason}; its last log lines: {said or 'none'}")
        time.sleep(0.2)


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


def plan(manager: Manager, status: Status, changed: set[str]) -> list[str]:
    """Return the verbs that make it run as it is written.

    ``changed`` are the files that check mode has left as they were.
    """
    verbs: list[str] = []
    if status.stale:
        verbs.append("reload definition")
    if status.broken:
        verbs.append("repair")
    elif not status.running:
        verbs.append("start")
    elif (
        manager.kind != "oneshot"
        and status.started
        and (newer_than(manager.service.files, status.started) or changed & set(manager.service.files))
    ):
        verbs.append("restart")
    if not manager.enabled():
        verbs.append("enable")
    return verbs


def plan_stop(manager: Manager, status: Status, disable: bool) -> list[str]:
    """Return the verbs that stop it and, with ``disable``, keep it down at boot."""
    if not status.exists:
        return []
    verbs = ["stop"] if status.running else []
    return [*verbs, "disable"] if disable and manager.enabled() else verbs


def apply(manager: Manager, verbs: list[str], changes: Changes) -> None:
    """Do what was planned; raises ServiceError."""
    for verb in verbs:
        if not changes.note(f"{manager.name}: {verb}"):
            continue
        if verb in ("enable", "disable"):
            manager.enable(verb == "enable")
        else:
            manager.act(verb)


def stop(manager: Manager, changes: Changes, *, disable: bool) -> None:
    """Stop a service; raises ServiceError, which names it."""
    try:
        apply(manager, plan_stop(manager, manager.status(), disable), changes)
    except ServiceError as err:
        raise ServiceError(f"{manager.name}: {err}") from err


def _bring_up(manager: Manager, status: Status, changes: Changes) -> None:
    if not status.exists:
        # In check mode its package or its file would be there by now.
        if changes.check:
            apply(manager, ["enable", "start"], changes)
            return
        raise ServiceError("there is no such service; is its package installed?")
    verbs = plan(manager, status, changes.paths if changes.check else set())
    since = time.monotonic()
    apply(manager, verbs, changes)
    if not changes.check and manager.kind != "timer":
        wait_until_ready(manager, None if verbs else status, since)


def bring_up(managers: Sequence[Manager], changes: Changes) -> list[str]:
    """Bring services up, one after the other, and wait for each; return what failed, a line each that names it.

    One that fails doesn't keep the others down.
    """
    if not managers:
        return []
    failed = []
    looked = type(managers[0]).statuses(managers)
    begun = len(changes.actions)
    for manager, status in zip(managers, looked, strict=True):
        try:
            # What was done to one may have moved another.
            _bring_up(manager, status if len(changes.actions) == begun else manager.status(), changes)
        except ServiceError as err:
            failed.append(f"{manager.name}: {err}")
    return failed
