"""Callback: ends a run whose inventory holds variables that Ansible would pass over in silence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.vars.plugins import get_vars_from_inventory_sources

DOCUMENTATION = r"""
name: slipway_inventory
type: aggregate
short_description: Ends a run whose inventory holds variables that get lost
description:
  - Ansible takes one of several values of a variable, and says nothing of the others. This plugin ends the run with one
    line where a user's value would be lost - in a file that is not read since a folder of the same name stands beside
    it, in one of two files of the same folder, or in an inventory file, which C(group_vars/all) overrides.
  - C(00-slipway.yml) is read before all other files of its folder, so that they override it.
requirements:
  - enabled in the configuration, with C(callbacks_enabled = slipway.stack.slipway_inventory)
"""

DEFAULTS = "00-slipway.yml"
_SUFFIXES = (".yml", ".yaml", ".json")


class _Loader(yaml.SafeLoader):
    """Reads Ansible's own tags as nothing; only the names of variables are of interest."""


_Loader.add_multi_constructor("!", lambda *_: None)


def _names(file: Path) -> set[str]:
    """Return the names of the variables that a file sets; none where it can't be read, of which Ansible tells."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeError, yaml.YAMLError):
        return set()
    # A file of the Vault is a plain text.
    return {str(name) for name in content} if isinstance(content, dict) else set()


def lost_files(sources: Iterable[str]) -> list[str]:
    """Return a line for each file that isn't read, and for each variable that two files of one folder set."""
    found = []
    for base in dict.fromkeys(path if path.is_dir() else path.parent for path in map(Path, sources) if path.exists()):
        for folder in sorted(path for kind in ("group_vars", "host_vars") for path in base.glob(f"{kind}/*/")):
            beside = [folder.with_name(folder.name + suffix) for suffix in _SUFFIXES]
            found += [f"{file} is not read, because the folder {folder.name} is beside it; move it into that folder"
                      for file in beside if file.is_file()]  # fmt: skip
            seen: dict[str, str] = {}
            for file in sorted(folder.iterdir()):
                if file.suffix in (*_SUFFIXES, "") and file.is_file() and file.name != DEFAULTS:
                    for name in sorted(_names(file)):
                        if name in seen:
                            found.append(
                                f"{name} is set in {folder}/{seen[name]} and in {file.name}; leave one of them"
                            )
                        seen[name] = file.name
    return found


def lost_variables(given: dict[str, dict[str, Any]], winning: dict[str, Any]) -> list[str]:
    """Return a line for each variable that inventory files set for a group, and C(group_vars/all) otherwise."""
    return [
        f"{name} is set for the group {group} in an inventory file, which the value in group_vars/all overrides; "
        f"set it there, in group_vars/{group} or at the host"
        for group, variables in sorted(given.items())
        for name, value in sorted(variables.items())
        if name in winning and winning[name] != value
    ]


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no type information
    """Looks once, before the first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "slipway_inventory"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Nothing has been looked at yet."""
        super().__init__()
        self._done = False

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Look, and end the run with one line if something would be lost."""
        if self._done:
            return
        self._done = True
        manager = play.get_variable_manager()
        inventory = manager._inventory
        sources = [source for source in inventory._sources if isinstance(source, str)]
        everybody = inventory.groups["all"]
        try:
            winning = get_vars_from_inventory_sources(manager._loader, sources, [everybody], "all")
        except AnsibleError as error:
            if "vault" not in str(error).lower():
                raise
            self._end(
                "a file is encrypted by Ansible's Vault, and can't be read without its password, or by another one;"
                " give --ask-vault-pass or --vault-password-file"
            )
        given = {name: dict(group.vars) for name, group in inventory.groups.items() if group.vars}
        lines = lost_files(sources) + lost_variables(given, winning)
        if lines:
            self._end("; ".join(lines))

    def _end(self, why: str) -> NoReturn:
        """End the run."""
        self._display.error(f"inventory: {why}")
        # An exception of any other kind would only be a warning.
        raise SystemExit(1)
