"""Callback: the summary at the end of a run, and .slipway/summary.json."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar, trust_as_template

DOCUMENTATION = r"""
name: slipway
type: aggregate
short_description: Prints what a run made, and keeps it in a file
description:
  - At the end of a run it prints the URLs of the sites, where the credentials and the CA
    certificate lie, fingerprint and expiry of each certificate, and the time spent in each role.
  - The same without secrets goes to C(summary.json) in the state folder, with mode 0600. The file
    is replaced only by a run that got to the end for all hosts, and never in check mode. Its
    durations are those of the last full run - a run with C(--tags), C(--skip-tags) or
    C(--start-at-task) leaves them as they were.
  - What to print is given by the last play, as data of M(ansible.builtin.set_stats) under the
    name C(slipway_summary) with the keys C(sites), C(ca_certificate), C(hosts), C(secrets_dir), C(certificates),
    C(logins), C(notes) and C(state_dir). A run without that data gets the time of its
    roles alone.
  - A role that is included by another role counts as part of the outer one.
  - Two runs of one user never change the same host at a time. A play with the variable C(__slipway_exclusive) waits
    until other runs that reached it on one of its hosts have ended, ten minutes at most. The locks are the kernel's, so
    they end with their run however that ends. Check mode takes none.
requirements:
  - enabled in the configuration, with C(callbacks_enabled = slipway.stack.slipway)
"""

DATA_NAME = "slipway_summary"
# Only these keys leave the run, whatever the data holds: nobody has to remember what is a secret.
SITE_KEYS = ("name", "type", "domain", "url", "address", "port", "host")
HOST_KEYS = ("name", "provider")
SSH_KEYS = ("name", "host", "port", "user", "private_key", "known_hosts")
CERTIFICATE_KEYS = ("host", "name", "names", "fingerprint", "not_after")
# A variable of the plays from which on a host belongs to one run alone.
EXCLUSIVE = "__slipway_exclusive"
LOCKS = Path("~/.ansible/slipway")
PATIENCE = 600  # seconds to wait for another run
# Tasks that belong to no role: those of the playbooks themselves, and gathering facts.
OTHER = "(other tasks)"
# What goes before the summary of a run in check mode.
LOOKED = "This run only looked: what follows is there once it was run without --check"


class Stopwatch:
    """Divides the time of a run among names; one name runs at a time."""

    def __init__(self) -> None:
        """Start with nothing running."""
        self.seconds: dict[str, float] = {}
        self._name: str | None = None
        self._since = 0.0

    def switch(self, name: str | None) -> None:
        """Give the time since the last switch to what ran, and let something else run (or none)."""
        now = time.monotonic()
        if self._name is not None:
            self.seconds[self._name] = self.seconds.get(self._name, 0.0) + now - self._since
        self._name, self._since = name, now


def _pick(source: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return those of the keys that a mapping has; an empty mapping for anything else."""
    return {key: source[key] for key in keys if key in source} if isinstance(source, dict) else {}


def _when(text: str) -> datetime | None:
    """Read a time as ISO 8601 or as X.509 writes it (20260222103000Z); none if it is neither."""
    try:
        if text.isascii() and text[:-1].isdigit() and text.endswith("Z"):
            return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _certificate(source: Any) -> dict[str, Any]:
    """Return a certificate, its fingerprint as browsers show it and its expiry as ISO 8601."""
    picked = _pick(source, CERTIFICATE_KEYS)
    if "fingerprint" in picked:
        picked["fingerprint"] = str(picked["fingerprint"]).upper()
    if moment := _when(str(picked.get("not_after", ""))):
        picked["not_after"] = moment.isoformat(timespec="seconds")
    return picked


def _host(source: dict[str, Any]) -> dict[str, Any]:
    """Return a host that serves sites: how it is provided and reached, and so its database and its cache."""
    return {
        **_pick(source, HOST_KEYS),
        "ssh": _pick(source.get("ssh"), SSH_KEYS),
        # They may be on other hosts.
        "backends": {name: _pick(one, SSH_KEYS) for name, one in (source.get("backends") or {}).items()},
    }


def summary(data: dict[str, Any]) -> dict[str, Any]:
    """Return what may be kept of the data that the playbook gave; no secret can get through."""
    return {
        "sites": [_pick(site, SITE_KEYS) for site in data.get("sites") or []],
        "ca_certificate": data.get("ca_certificate"),
        "certificates": [_certificate(one) for one in data.get("certificates") or []],
        "hosts": [_host(one) for one in data.get("hosts") or []],
        "secrets_dir": data.get("secrets_dir"),
    }


def _sorted_times(seconds: dict[str, float]) -> list[tuple[str, float]]:
    """Return names and seconds, the longest first."""
    return sorted(seconds.items(), key=lambda item: (-item[1], item[0]))


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return the rows as lines, indented, with the columns aligned."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]


def _expiry(certificate: dict[str, Any], now: datetime) -> str:
    """Return until when a certificate is valid, and how many days that is."""
    text = str(certificate.get("not_after", "unknown"))
    moment = _when(text)
    if moment is None:
        return text
    days = (moment - now).days
    return f"{moment.date().isoformat()} ({f'{days} days left' if days >= 0 else 'EXPIRED'})"


def report(kept: dict[str, Any], now: datetime) -> list[str]:
    """Return the lines that tell a person what the run made."""
    # Which host it is goes without saying where there is one.
    several = len(kept["hosts"]) > 1
    columns = ("name", "type", "url", *(("host",) if several else ()))
    sites = [tuple(str(site.get(key)) for key in columns) for site in kept["sites"]]
    lines = ["Sites", *(_table(sites) or ["  none"])]
    if kept["ca_certificate"]:
        lines += [
            "CA certificate, for clients to trust",
            f"  {kept['ca_certificate']}",
        ]
    if kept["secrets_dir"]:
        lines += [
            "Generated passwords, one file each; those that the inventory gives are not among them",
            f"  {kept['secrets_dir']}",
        ]
    if kept["certificates"]:
        lines.append("Certificates, with the SHA-256 fingerprint")
    for one in kept["certificates"]:
        host = f"{one['host']}: " if several else ""
        names = ", ".join(str(name) for name in one.get("names") or [])
        lines += [
            f"  {host}{one.get('name')} for {names}, valid until {_expiry(one, now)}",
            f"    {one.get('fingerprint', 'unknown')}",
        ]
    return lines


def logins(data: dict[str, Any]) -> list[str]:
    """Return the lines that say where each site is administered, by whom, and where the password is."""
    keys = ("site", "url", "user", "password")
    rows = [tuple(str(one.get(key)) for key in keys) for one in data.get("logins") or []]
    return ["Log in to WordPress, with the password in the file", *_table(rows)] if rows else []


def notes(data: dict[str, Any]) -> list[str]:
    """Return the lines of what the run wants to be known beside what it made."""
    texts = [str(text) for text in data.get("notes") or []]
    return ["Notes", *(f"  {text}" for text in texts)] if texts else []


def times(seconds: dict[str, float]) -> list[str]:
    """Return the table of the time per role, the longest first."""
    rows = [(name, f"{spent:8.1f} s") for name, spent in _sorted_times(seconds)]
    return ["Time per role", *_table([*rows, ("total", f"{sum(seconds.values()):8.1f} s")])]


def durations(seconds: dict[str, float]) -> dict[str, float]:
    """Return the seconds of each role, the longest first, and of the whole run as C(total)."""
    roles = {name: round(spent, 1) for name, spent in _sorted_times(seconds) if name != OTHER}
    return {**roles, "total": round(sum(seconds.values()), 1)}


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file as a whole, so that no reader sees a half of it; raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it 0600.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Locks:
    """Hosts that belong to this run alone, on this controller and for this user.

    The locks are POSIX record locks: they belong to the process, so neither a worker nor ssh's lasting connection,
    which may both live longer, keeps one.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the files of the locks in a folder."""
        self._folder = folder
        self._held: dict[str, int] = {}

    def take(self, host: str) -> str | None:
        """Take a host; return who has it if another run does, else none. Raises OSError."""
        if host in self._held:
            return None
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self._folder / re.sub(r"[^A-Za-z0-9.-]", "_", host), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 100).decode(errors="replace").strip()
            # Nothing is held on this file, so nothing is lost by closing it.
            os.close(handle)
            return owner or "unknown"
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} since {datetime.now().astimezone().isoformat(' ', 'seconds')}\n".encode(), 0)
        self._held[host] = handle
        return None


def _kept_durations(path: Path) -> dict[str, float]:
    """Return the durations that the file holds; none if it isn't there or isn't one of ours."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["durations"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no type information
    """Measures the roles and reports at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Start the measurement."""
        super().__init__()
        self._watch = Stopwatch()
        self._locks = Locks(LOCKS.expanduser())

    def v2_playbook_on_start(self, playbook: Any) -> None:  # noqa: ARG002 - Ansible's signature
        """Load all filters and tests before the first task.

        Each task is a fork of this process, which would load them by itself: a third of what a run costs here.
        """
        Templar().template(trust_as_template("{{ [] | slipway.stack.slipway_site_errors or 0 | bool or 0 is truthy }}"))

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Between plays no role runs."""
        self._watch.switch(OTHER)
        if play.get_vars().get(EXCLUSIVE) and not context.CLIARGS.get("check"):
            self._lock(play)

    def _lock(self, play: Any) -> None:
        """Take the play's hosts for this run, or end it."""
        inventory = play.get_variable_manager()._inventory
        # In one order, so that no two runs wait for each other.
        hosts = sorted({str(host.vars.get("ansible_host", host.name)) for host in inventory.get_hosts(play.hosts)})
        end = time.monotonic() + PATIENCE
        for host in hosts:
            said = False
            while owner := self._locks.take(host):
                if time.monotonic() >= end:
                    self._display.error(
                        f"{host}: another run is still at work there (process {owner}); run again later"
                    )
                    # An exception of any other kind would only be a warning.
                    raise SystemExit(1)
                if not said:
                    self._display.display(
                        f"{host}: another run is at work there (process {owner}); waiting for it, {PATIENCE} s at most"
                    )
                    said = True
                time.sleep(1)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002 - Ansible's signature
        """Let the task's outermost role run."""
        chain = task.get_dep_chain() or [task._role]
        # In the collection a role's name has that of the collection before it.
        self._watch.switch(chain[0].get_name().removeprefix("slipway.stack.") if chain[0] else OTHER)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Count a handler to the role it belongs to."""
        self.v2_playbook_on_task_start(task, is_conditional=False)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Report, and keep what is to be kept."""
        self._watch.switch(None)
        data = stats.custom.get("_run", {}).get(DATA_NAME)
        lines: list[str] = []
        if isinstance(data, dict):
            lines += [LOOKED] if context.CLIARGS.get("check") else []
            lines += report(summary(data), datetime.now(UTC)) + logins(data) + notes(data)
        if self._watch.seconds.keys() - {OTHER}:
            lines += times(self._watch.seconds)
        if lines:
            self._display.banner("SLIPWAY")
            for line in lines:
                self._display.display(line)
        if isinstance(data, dict):
            self._keep(data, stats)

    def _keep(self, data: dict[str, Any], stats: Any) -> None:
        """Write the file, or say why it stays as it is."""
        path = Path(str(data.get("state_dir") or ".slipway")) / "summary.json"
        options = context.CLIARGS
        if options.get("check"):
            return
        # A run that left hosts out knows only a part of what there is.
        if stats.failures or stats.dark or options.get("subset"):
            self._display.display(f"{path} stays as it was: this run did not get to the end for all hosts")
            return
        # A run of the summary's playbook alone has no role to measure.
        whole = (
            bool(self._watch.seconds.keys() - {OTHER})
            and list(options.get("tags") or ["all"]) == ["all"]
            and not options.get("skip_tags")
            and not options.get("start_at_task")
        )
        spent = durations(self._watch.seconds) if whole else _kept_durations(path)
        try:
            write(path, {**summary(data), "durations": spent})
        except (OSError, TypeError, ValueError) as error:
            self._display.error(f"{path} could not be written: {error}")
