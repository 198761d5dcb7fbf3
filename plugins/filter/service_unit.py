"""Filters of the role service_unit: one command line, and what each service manager needs made of it.

A declaration's command is split the way a shell would split it, and nothing else: no variable, no pattern, no
operator. Both renderings below hand exactly these words to the program.
"""

from __future__ import annotations

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


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "service_unit_shell": shell_command,
            "service_unit_systemd": systemd_command,
            "service_unit_openrc_capabilities": openrc_capabilities,
        }
