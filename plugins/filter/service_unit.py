"""Filters of the role service_unit: one command line, and what each service manager needs made of it.

A declaration's command is split the way a shell would split it, and nothing else: no variable, no pattern, no
operator. Both renderings below hand exactly these words to the program.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

# capabilities(7), Linux 5.9 and later; libcap knows them all since 2.48.
CAPABILITIES = (  # noqa: SIM905 a list of 41 quoted words is harder to read
    "cap_chown cap_dac_override cap_dac_read_search cap_fowner cap_fsetid cap_kill cap_setgid cap_setuid cap_setpcap "
    "cap_linux_immutable cap_net_bind_service cap_net_broadcast cap_net_admin cap_net_raw cap_ipc_lock cap_ipc_owner "
    "cap_sys_module cap_sys_rawio cap_sys_chroot cap_sys_ptrace cap_sys_pacct cap_sys_admin cap_sys_boot "
    "cap_sys_nice cap_sys_resource cap_sys_time cap_sys_tty_config cap_mknod cap_lease cap_audit_write "
    "cap_audit_control cap_setfcap cap_mac_override cap_mac_admin cap_syslog cap_wake_alarm cap_block_suspend "
    "cap_audit_read cap_perfmon cap_bpf cap_checkpoint_restore"
).split()


def _words(command: str) -> list[str]:
    """Split a command line; raises AnsibleFilterError for an open quote."""
    try:
        return shlex.split(command)
    except ValueError as err:
        raise AnsibleFilterError(f"the command '{command}' can't be split into words: {err}") from err


def shell_command(command: str) -> str:
    """Return the command line so that a shell takes each word as it is."""
    return shlex.join(_words(command))


def systemd_command(command: str) -> str:
    """Return the command line so that systemd takes each word as it is (systemd.service(5), "Command lines")."""

    def word(text: str) -> str:
        text = text.replace("%", "%%").replace("$", "$$")
        if re.fullmatch(r"[\w@%+=:,./$-]+", text):
            return text
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    return " ".join(word(text) for text in _words(command))


def openrc_capabilities(wanted: list[str], raise_wanted: bool = False) -> str:
    """Return a set of capabilities in libcap's IAB notation (cap_iab(3)).

    ``!`` takes one out of the bounding set, so all but the wanted are named; ``^`` gives one to a user other than
    root (``raise_wanted``). Root keeps CAP_KILL: what a dead main process left, often another user's, has to be ended
    from within the sandbox before the next one starts (files/foreground).
    """
    names = [name.lower() for name in wanted]
    unknown = sorted(set(names) - set(CAPABILITIES))
    if unknown:
        raise AnsibleFilterError(f"unknown capabilities: {', '.join(unknown)}")
    raised = [f"^{name}" for name in names] if raise_wanted else []
    kept = names if raise_wanted else [*names, "cap_kill"]
    return ",".join([*raised, *(f"!{name}" for name in CAPABILITIES if name not in kept)])


def systemd_files(units: list[dict[str, Any]], overrides: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the folders and files of these units and overrides, as the module managed_files takes them."""
    top = "/etc/systemd/system"
    folders = [{"path": f"{top}/{override['name']}.service.d", "mode": "0755"} for override in overrides]
    files: list[dict[str, Any]] = []

    def add(path: str, template: str, **variables: Any) -> None:
        files.append({"path": f"{top}/{path}", "src": template, "vars": variables, "mode": "0644"})

    for unit in units:
        add(f"{unit['name']}.service", "systemd.service.j2", unit=unit)
        if "timer" in unit:
            add(f"{unit['name']}.timer", "systemd.timer.j2", unit=unit)
        if "healthcheck" in unit:
            add(f"{unit['name']}-healthcheck.service", "systemd.healthcheck.service.j2", unit=unit)
            add(f"{unit['name']}-healthcheck.timer", "systemd.healthcheck.timer.j2", unit=unit)
    for override in overrides:
        add(f"{override['name']}.service.d/slipway.conf", "systemd.dropin.j2", override=override)
    return {"folders": folders, "files": files}


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")
_RESERVED = {"start", "stop", "restart", "status", "zap", "healthcheck", "unhealthy", "check", "ready", "environment"}
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
    """Say which commands don't begin with an absolute path; raises AnsibleFilterError for an open quote."""
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
    faults = _command_faults(where, unit, ["command", "stop_command", "reload_command", "check_command"])
    faults += _command_faults(f"{where}.healthcheck", unit.get("healthcheck", {}), ["command"])
    faults += _probe_faults(where, unit.get("readiness")) + _signal_faults(where, unit.get("signals", {}))
    if (kind == "task") != ("timer" in unit):
        faults.append(f"{where}: a timer and the type 'task' belong together")
    minutes = unit.get("timer", {}).get("every_minutes", 1)
    if not 1 <= int(minutes) <= 60:  # noqa: PLR2004
        faults.append(f"{where}.timer.every_minutes: {minutes} is not allowed; 1 to 60 are")
    if kind != "simple" and "healthcheck" in unit:
        faults.append(f"{where}.healthcheck: only a unit of the type 'simple' can have one")
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


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "service_unit_shell": shell_command,
            "service_unit_systemd": systemd_command,
            "service_unit_systemd_files": systemd_files,
            "service_unit_faults": faults,
            "service_unit_openrc_capabilities": openrc_capabilities,
        }
