#!/usr/bin/python
"""Module kernel_settings: brings settings of the running kernel to their values, in one look at /proc/sys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kernel_settings
short_description: Brings settings of the running kernel to their values
description:
  - All settings are compared at once, and only those that differ are written. No file is written that would bring them
    back after a reboot; RV(settings) tells what belongs there.
  - A setting that this kernel doesn't have is left out, since a file with it would fail at each boot.
  - A container shares all of its machine's kernel but the network. There, only settings of the network are brought to
    their values, unless the container may not write them either.
  - A value that the kernel takes back at a reboot only, and that is stricter than any other, counts as the one that is
    wanted; RV(settings) has the latter, for the next boot.
  - The task fails if the kernel refuses a value, and names all that were refused.
options:
  settings:
    description: The values by name, such as C(net.ipv4.tcp_syncookies). A C(/) in a name is a dot of an interface.
    type: dict
    required: true
  container:
    description: Whether the host is a container.
    type: bool
    default: false
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Answer floods of half-open connections
  kernel_settings:
    settings: {net.ipv4.tcp_syncookies: 1}
"""

RETURN = r"""
settings:
  description: The settings that this host can have, with their values as texts.
  returned: success
  type: dict
  sample: {net.ipv4.tcp_syncookies: '1'}
left_out:
  description: The other ones, by the reason why they were left as they are.
  returned: success
  type: dict
  sample: {not in this kernel: [kernel.yama.ptrace_scope]}
"""

SYS = Path("/proc/sys")
MISSING = "not in this kernel"
SHARED = "of the machine's kernel, which its containers share"
READ_ONLY = "read-only in this container"
# The only part of the kernel's settings that a container has for itself as a whole.
OWN = "net."
# The strictest value of a setting, which the kernel keeps until a reboot.
FOR_GOOD = {"kernel.yama.ptrace_scope": "3"}


def path_of(key: str, root: Path = SYS) -> Path:
    """Return the file of a setting."""
    return root.joinpath(*(part.replace("/", ".") for part in key.split(".")))


def plain(value: object) -> str:
    """Return a value with one space between its parts, where the kernel prints tabs."""
    return " ".join(str(value).split())


@dataclass
class Outcome:
    """What became of the settings. ``before`` has the old values of those that differ."""

    settings: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def _obstacle(key: str, path: Path, *, container: bool) -> str:
    """Return why a setting is left as it is; nothing if it isn't."""
    if container and not key.startswith(OWN):
        return SHARED
    if not path.is_file():
        return MISSING
    # Root is refused where the file system, or the file, is read-only.
    return READ_ONLY if container and not os.access(path, os.W_OK) else ""


def _write(key: str, value: str, path: Path) -> str:
    """Write a value; return what the kernel has against it."""
    try:
        path.write_text(f"{value}\n", encoding="utf-8")
        now = plain(path.read_text(encoding="utf-8"))
    except OSError as error:
        return f"{key}: the kernel refuses '{value}' ({error.strerror})"
    return "" if now == value else f"{key}: the kernel has '{now}' after '{value}' was written"


def bring(settings: Mapping[str, object], *, container: bool, check: bool, root: Path = SYS) -> Outcome:
    """Bring settings to their values, or in check mode tell what would be."""
    outcome = Outcome()
    for key, given in settings.items():
        value, path = plain(given), path_of(key, root)
        if reason := _obstacle(key, path, container=container):
            outcome.left_out.setdefault(reason, []).append(key)
            continue
        outcome.settings[key] = value
        try:
            before = plain(path.read_text(encoding="utf-8"))
        except OSError as error:
            outcome.refused.append(f"{key}: it can't be read ({error.strerror})")
            continue
        if before in (value, FOR_GOOD.get(key)):
            continue
        outcome.before[key] = before
        if not check and (fault := _write(key, value, path)):
            outcome.refused.append(fault)
    return outcome


def main() -> None:
    """Run the module."""
    arguments: dict[str, Any] = {
        "settings": {"type": "dict", "required": True},
        "container": {"type": "bool", "default": False},
    }
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    given = module.params
    outcome = bring(given["settings"], container=given["container"], check=module.check_mode)
    if outcome.refused:
        module.fail_json(msg="\n".join(outcome.refused))
    lines = {
        "before": "".join(f"{key} = {value}\n" for key, value in outcome.before.items()),
        "after": "".join(f"{key} = {outcome.settings[key]}\n" for key in outcome.before),
    }
    module.exit_json(
        changed=bool(outcome.before),
        settings=outcome.settings,
        left_out=outcome.left_out,
        diff={"before_header": str(SYS), "after_header": str(SYS), **lines},
    )


if __name__ == "__main__":
    main()
