"""The inventory of `up`: its targets in their groups, for Ansible and the tests, apart from the hosts of inventory/."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

import yaml

from lab import targets
from lab.base import ROOT, STATE
from lab.targets import Target

FOLDER = STATE / "inventory"
PATH = FOLDER / "hosts.yml"
# The authority, the secrets and the summary of the targets' runs; those of inventory/ are no business of theirs.
RUNS = STATE / "state"
SUMMARY = RUNS / "summary.json"
# The groups the playbooks know; a target is in all of them unless told otherwise, and then in this one alone.
WHOLE = "slipway"
_COMPONENTS = yaml.safe_load((ROOT / "playbooks/vars/components.yml").read_text())["__slipway_components"]
GROUPS = tuple(dict.fromkeys(component["group"] for component in _COMPONENTS))
HEADER = "---\n# Written by `python -m lab up`; gone after `down`. Changes here get lost.\n"


def build(hosts: Iterable[tuple[Target, dict[str, str]]], variables: dict[str, str]) -> dict[str, Any]:
    """Return an inventory of these targets, each with its connection variables.

    ``variables`` hold for all hosts. They stand at each host, because group_vars/all of the same inventory would go
    before them anywhere else.
    """
    hosts = list(hosts)
    children: dict[str, Any] = {}
    groups = {target.name: _shortened(target.groups or ()) for target, _ in hosts}
    for group in (WHOLE, *GROUPS):
        names = [name for name, mine in groups.items() if group in mine]
        if names:
            children[group] = {"hosts": dict.fromkeys(names)}
    result: dict[str, Any] = {
        "hosts": {target.name: {**connection, **variables} for target, connection in hosts},
        "children": children,
    }
    return {"all": result}


def _shortened(groups: tuple[str, ...]) -> tuple[str, ...]:
    return (WHOLE,) if set(groups) == set(GROUPS) else groups


def write(variables: dict[str, str]) -> None:
    """Write the inventory of all targets that have groups, or remove it if there is none."""
    placed = [target for target in targets.known() if target.groups is not None]
    if not placed:
        remove()
        return
    variables = {**variables, "slipway_state_dir": str(RUNS)}
    data = build([(target, targets.connection(target)) for target in placed], variables)
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(HEADER + yaml.safe_dump(data, sort_keys=False, width=1000))
    # The sites and the settings are those of inventory/.
    shared = FOLDER / "group_vars"
    if not shared.is_symlink():
        shared.symlink_to(ROOT / "inventory" / "group_vars")


def remove() -> None:
    """Remove the inventory."""
    shutil.rmtree(FOLDER, ignore_errors=True)


def variables() -> dict[str, str]:
    """Return the variables the present inventory sets for all hosts."""
    if not PATH.is_file():
        return {}
    hosts = (yaml.safe_load(PATH.read_text()) or {}).get("all", {}).get("hosts", {})
    return {key: value for host in hosts.values() for key, value in host.items() if not key.startswith("ansible_")}
