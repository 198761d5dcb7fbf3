"""What the role service_unit makes of its declarations: what contradicts itself, the files, and what is to run.

Pure functions of the controller: the templates are rendered by the action service_units, and the host is brought into
its state by the module service_unit_state.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from .service_admit import table

# A declaration of service_unit_units or service_unit_overrides, as meta/argument_specs.yml has it.
Declaration = dict[str, Any]

# The sandbox of a unit of ours.
SANDBOX = {
    "no_new_privileges": True,
    "protect_system": "strict",
    "protect_home": "yes",
    "private_tmp": True,
    "private_ipc": True,
    "protect_kernel": True,
    "restrict_namespaces": True,
    "system_calls": ["@system-service"],
}
# What starts a service, in seconds, unless it says otherwise.
TIMEOUT = 90
NFT = "/usr/sbin/nft"
# A unit's type as the module service_unit_state calls it.
KINDS = {"simple": "service", "oneshot": "oneshot", "task": "timer"}


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_RESERVED = {"start", "stop", "restart", "status", "zap", "healthcheck", "unhealthy", "check", "ready"}
_PROBES = ("port", "socket", "command")


def _name_faults(where: str, names: list[str], absent: list[str]) -> list[str]:
    """Say which names can't be file names, are there twice or shall be gone at once."""
    faults = [
        f"{where}: '{name}' is no name of a unit; allowed: letters, digits, _ . @ -"
        for name in names
        if not _NAME.fullmatch(name)
    ]
    faults += [f"{where}: '{name}' is there twice" for name in sorted({n for n in names if names.count(n) > 1})]
    faults += [f"{where}: '{name}' is in service_unit_absent, too" for name in names if name in absent]
    return faults


def _probe_faults(where: str, readiness: dict[str, Any] | None) -> list[str]:
    """Say whether a probe looks at nothing, or at more than one thing."""
    if readiness is None or sum(key in readiness for key in _PROBES) == 1:
        return []
    return [f"{where}.readiness: give exactly one of {', '.join(_PROBES)}"]


def _command_faults(where: str, declaration: dict[str, Any], keys: list[str]) -> list[str]:
    """Say which commands don't begin with an absolute path."""
    return [
        f"{where}.{key}: '{declaration[key]}' does not begin with an absolute path"
        for key in keys
        if key in declaration and not declaration[key].startswith("/")
    ]


def _signal_faults(where: str, signals: dict[str, str]) -> list[str]:
    """Say which commands for signals can't be a function of an OpenRC script, or name no signal."""
    faults = [
        f"{where}.signals: '{name}' can't be a command's name"
        for name in signals
        if name in _RESERVED or not re.fullmatch(r"[a-z_]+", name)
    ]
    return faults + [
        f"{where}.signals.{name}: '{value}' is no signal; allowed: a name without SIG, such as HUP"
        for name, value in signals.items()
        if not re.fullmatch(r"[A-Z0-9]+", value)
    ]


def _admit_faults(where: str, admit: dict[str, Any]) -> list[str]:
    """Say which of the hosts to let in are no address and no network."""

    def known(text: str) -> bool:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            return False
        return True

    return [f"{where}.from: '{text}' is neither an address nor a network" for text in admit["from"] if not known(text)]


def _unit_faults(unit: dict[str, Any]) -> list[str]:
    """Return the faults of one unit of ours."""
    where = f"service_unit_units[{unit['name']}]"
    kind = unit.get("type", "simple")
    faults = _command_faults(where, unit, ["command", "stop_command", "check_command"])
    faults += _probe_faults(where, unit.get("readiness")) + _signal_faults(where, unit.get("signals", {}))
    if (kind == "task") != ("timer" in unit):
        faults.append(f"{where}: a timer and the type 'task' belong together")
    minutes = unit.get("timer", {}).get("every_minutes", 1)
    if not 1 <= int(minutes) <= 60:  # noqa: PLR2004
        faults.append(f"{where}.timer.every_minutes: {minutes} is not allowed; 1 to 60 are")
    return faults


def _override_faults(override: dict[str, Any]) -> list[str]:
    """Return the faults of what one service of the distribution gets on top."""
    where = f"service_unit_overrides[{override['name']}]"
    openrc = override.get("openrc", {})
    faults = _command_faults(f"{where}.openrc", openrc, ["command", "check_command"])
    faults += _signal_faults(f"{where}.openrc", openrc.get("signals", {}))
    if "admit" in override:
        faults += _admit_faults(f"{where}.admit", override["admit"])
        if "command" not in openrc:
            faults.append(f"{where}.admit: it needs openrc.command, the distribution's script would not ask for it")
    return faults + _probe_faults(where, override.get("readiness"))


def faults(units: list[dict[str, Any]], overrides: list[dict[str, Any]], absent: list[str]) -> list[str]:
    """Return what contradicts itself in the declarations, a line each, that argument_specs.yml can't refuse."""
    found = _name_faults("service_unit_units", [unit["name"] for unit in units], absent)
    found += _name_faults("service_unit_overrides", [override["name"] for override in overrides], absent)
    for unit in units:
        found += _unit_faults(unit)
    for override in overrides:
        found += _override_faults(override)
    return found


def host_faults(manager: str, own: str, supported: list[str], family: str, families: list[str], host: str) -> list[str]:
    """Return why the role can't serve a host, a line each.

    ``manager`` is the service manager that was asked for, ``own`` the host's.
    """
    found = []
    if manager not in supported:
        allowed = ", ".join(dict.fromkeys(supported))
        found.append(f"service_unit_manager: '{manager}' is not supported on {host}; allowed: {allowed}")
    elif manager != own:
        found.append(
            f"service_unit_manager: '{manager}' was asked for, but {host} runs '{own}'; leave it out, or give the "
            "host's own"
        )
    if family not in families:
        found.append(f"service_unit: the OS family '{family}' is not supported; allowed: {', '.join(families)}")
    return found


@dataclass(frozen=True)
class Places:
    """Where ours lies on a host: tables of who reaches a service, and on OpenRC programs, logs, scripts kept aside."""

    admit_dir: str
    libexec: str
    log_dir: str
    aside: str


def sandbox(unit: Declaration) -> dict[str, Any]:
    """Return the sandbox of a unit of ours: one of another user than root has no capability it wasn't given."""
    none: dict[str, Any] = {} if unit.get("user", "root") == "root" else {"capabilities": []}
    return {**SANDBOX, **none, **unit.get("sandboxing", {})}


def _file(path: str, src: str, mode: str = "0644", **variables: Any) -> dict[str, Any]:
    """Return a file as the action service_units takes it: a template of the role and what it sees."""
    return {"path": path, "src": src, "mode": mode, "vars": variables}


def timed(units: list[Declaration]) -> dict[str, bool]:
    """Return the names of units, and whether each has a timer."""
    return {unit["name"]: "timer" in unit for unit in units}


def admitting(overrides: list[Declaration]) -> list[Declaration]:
    """Return the overrides that say who reaches the service."""
    return [override for override in overrides if "admit" in override]


def tables(overrides: list[Declaration], places: Places) -> list[dict[str, Any]]:
    """Return the files that say who reaches a service."""
    return [
        _file(f"{places.admit_dir}/{one['name']}.nft", "admit.nft.j2", override=one, table=table(one["name"]))
        for one in admitting(overrides)
    ]


class Systemd:
    """What becomes of declarations under systemd."""

    TOP = "/etc/systemd/system"

    def __init__(self, units: list[Declaration], overrides: list[Declaration]) -> None:
        """Take the declarations."""
        self.units = units
        self.overrides = overrides

    def folders(self) -> list[dict[str, Any]]:
        """Return the folders of the files."""
        return [{"path": f"{self.TOP}/{one['name']}.service.d", "mode": "0755"} for one in self.overrides]

    def files(self) -> list[dict[str, Any]]:
        """Return the files."""
        found = []
        for unit in self.units:
            found.append(
                _file(f"{self.TOP}/{unit['name']}.service", "systemd.service.j2", unit=unit, box=sandbox(unit))
            )
            if "timer" in unit:
                found.append(_file(f"{self.TOP}/{unit['name']}.timer", "systemd.timer.j2", unit=unit))
        found += [
            _file(f"{self.TOP}/{one['name']}.service.d/slipway.conf", "systemd.dropin.j2", override=one)
            for one in self.overrides
        ]
        return found

    def services(self) -> list[dict[str, Any]]:
        """Return what is to run, as the module service_unit_state takes it."""
        found = []
        for unit in self.units:
            own = f"{self.TOP}/{unit['name']}.{'timer' if 'timer' in unit else 'service'}"
            found.append(_service(unit, [own], kind=KINDS[unit.get("type", "simple")]))
        for override in self.overrides:
            found.append(_service(override, [f"{self.TOP}/{override['name']}.service.d/slipway.conf"]))
        return found


def _service(declaration: Declaration, own: list[str], **more: Any) -> dict[str, Any]:
    return {
        "name": declaration["name"],
        "files": [*own, *declaration.get("watch", [])],
        "readiness": declaration.get("readiness", {}),
        "start_timeout": int(declaration.get("timeout_start", TIMEOUT)),
        **more,
    }


class OpenRC:
    """What becomes of declarations under OpenRC.

    ``cron`` is the family's: the ``service`` that runs jobs, what it gets on top, and its ``folder`` of a file for each
    job or its ``table`` of lines, the other one empty.
    """

    def __init__(
        self, units: list[Declaration], overrides: list[Declaration], cron: dict[str, Any], places: Places, mark: str
    ) -> None:
        """Take the declarations."""
        self.lasting = [unit for unit in units if "timer" not in unit]
        self.jobs = [unit for unit in units if "timer" in unit]
        self.cron = cron
        self.places = places
        self.mark = mark
        # Jobs need a cron that is back when it dies.
        self.overrides = [*(cron["overrides"] if self.jobs else []), *overrides]
        self.replaced = [one for one in self.overrides if "command" in one.get("openrc", {})]
        self.kept = [one for one in self.overrides if one not in self.replaced]

    def folders(self) -> list[dict[str, Any]]:
        """Return the folders of the files."""
        places = self.places
        paths = [places.libexec, f"{places.libexec}/jobs", places.log_dir, "/etc/slipway", places.aside]
        return [{"path": path, "mode": "0755"} for path in [*paths, "/etc/logrotate.d"]]

    def files(self) -> list[dict[str, Any]]:
        """Return the files."""
        found = [
            {"path": f"{self.places.libexec}/foreground", "file": "foreground", "mode": "0755"},
            _file("/etc/logrotate.d/slipway-units", "logrotate.j2"),
        ]
        for one in self.replaced:
            unit = {**one, **one["openrc"]}
            box = one.get("sandboxing", {})
            found.append(_file(f"/etc/init.d/{one['name']}", "openrc.script.j2", "0755", unit=unit, box=box))
        for one in self.kept:
            settings = _file(f"/etc/conf.d/{one['name']}", "openrc.conf.j2", override=one)
            found.append({**settings, "marker": "# {mark} Slipway"})
        for unit in self.lasting:
            path = f"/etc/init.d/{unit['name']}"
            found.append(_file(path, "openrc.script.j2", "0755", unit=unit, box=sandbox(unit)))
        for unit in self.jobs:
            found.append(_file(self._job(unit), "openrc.job.j2", "0755", unit=unit))
            found.append(self._time(unit))
        return found

    def _job(self, unit: Declaration) -> str:
        return f"{self.places.libexec}/jobs/{unit['name']}"

    def _time(self, unit: Declaration) -> dict[str, Any]:
        """Return the file, or the lines of one, that tell cron when a job runs."""
        name, minutes = unit["name"], int(unit["timer"]["every_minutes"])
        when = f"{'0' if minutes == 60 else f'*/{minutes}'} * * * *"  # noqa: PLR2004 an hour
        if self.cron["folder"]:
            content = f"# {self.mark}\n{when} root {self._job(unit)}\n"
            return {"path": f"{self.cron['folder']}/{name}", "mode": "0644", "content": content}
        marker = f"# {{mark}} Slipway {name}"
        return {"path": self.cron["table"], "mode": "0600", "content": f"{when} {self._job(unit)}\n", "marker": marker}

    def services(self) -> list[dict[str, Any]]:
        """Return what is to run, as the module service_unit_state takes it."""
        found = []
        for one in self.overrides:
            own = [f"/etc/init.d/{one['name']}", f"/etc/conf.d/{one['name']}"]
            limit = max(int(one.get(key, TIMEOUT)) for key in ("timeout_start", "timeout_stop"))
            found.append(_service(one, own, supervised=True, log=self._log(one), start_timeout=limit))
        for unit in self.lasting:
            simple = unit.get("type", "simple") == "simple"
            own = [f"/etc/init.d/{unit['name']}"]
            kind = "service" if simple else "oneshot"
            early = bool(unit.get("early"))
            found.append(_service(unit, own, kind=kind, supervised=simple, log=self._log(unit), early=early))
        return found

    def _log(self, declaration: Declaration) -> str:
        return f"{self.places.log_dir}/{declaration['name']}.log"
