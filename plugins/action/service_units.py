"""Action service_units: all that the role service_unit does on a host, in one task."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.stack.plugins.module_utils import service_declarations as declared
from ansible_collections.slipway.stack.plugins.plugin_utils.actions import rendered, run_other

DOCUMENTATION = r"""
module: service_units
short_description: Brings declared services into their state
description:
  - Rejects declarations that contradict themselves, renders the role's templates here, and has the module
    M(service_unit_state) do all the rest in one go. A task for each part would cost ten times as much, most of all
    where nothing is to be done.
  - The packages that it needs are installed where their programs are missing.
options:
  validate_only:
    description: Only reject what can't be done.
    type: bool
    default: false
  manager:
    description: The service manager, C(systemd) or C(openrc).
    type: str
    required: true
  own_manager:
    description: The host's own.
    type: str
    required: true
  managers:
    description: All that are supported.
    type: list
    elements: str
    required: true
  family:
    description: The host's OS family.
    type: str
    required: true
  families:
    description: What each OS family that is supported differs in.
    type: dict
    required: true
  units:
    description: The units of this host; see the role's C(service_unit_units).
    type: list
    elements: dict
    default: []
  overrides:
    description: What the distribution's services get on top; see C(service_unit_overrides).
    type: list
    elements: dict
    default: []
  absent:
    description: Services that go away.
    type: list
    elements: str
    default: []
  prune:
    description: Patterns of units of ours that go away unless C(units) has them.
    type: list
    elements: str
    default: []
  start:
    description: Whether services are enabled, started and probed.
    type: bool
    default: true
  mark:
    description: What the first comment of each file of ours says.
    type: str
    required: true
  places:
    description: Where ours lies, C(admit_dir), C(libexec), C(log_dir) and C(aside).
    type: dict
    required: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Ensure that services run as declared
  service_units:
    manager: systemd
    own_manager: systemd
    managers: [systemd, openrc]
    family: Debian
    families: {Debian: {log_packages: [logrotate]}}
    overrides: [{name: nginx, readiness: {port: 443}}]
    mark: Written by Slipway; changes are overwritten.
    places: {admit_dir: /etc/slipway/admit}
"""

# By its full name, which is known in the checkout as well.
_MODULE = "slipway.stack.service_unit_state"


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Renders here, and calls the module."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result, or what is wrong with the declarations, a line each."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        given = self._task.args
        if faults := self._faults(variables):
            return {**result, "failed": True, "msg": "\n".join(faults)}
        if given.get("validate_only"):
            return {**result, "changed": False}
        arguments = self._arguments(given, variables)
        done = self._execute_module(module_name=_MODULE, module_args=arguments, task_vars=task_vars)
        if not done.get("missing"):
            return {**result, **done}
        installed = self._install(done["missing"], given["families"][given["family"]], variables)
        if installed.get("failed"):
            return {**result, **installed}
        # In check mode they are still missing.
        done = self._execute_module(module_name=_MODULE, module_args={**arguments, "requires": []}, task_vars=task_vars)
        names = ", ".join(installed["names"])
        done["actions"] = [f"install {names}", *done.get("actions", [])]
        return {**result, **done, "changed": True}

    def _faults(self, variables: dict[str, Any]) -> list[str]:
        given = self._task.args
        found: list[str] = declared.host_faults(
            given["manager"],
            given["own_manager"],
            given["managers"],
            given["family"],
            list(given["families"]),
            str(variables.get("inventory_hostname")),
        ) or declared.faults(given.get("units") or [], given.get("overrides") or [], given.get("absent") or [])
        return found

    def _arguments(self, given: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Return what the module is told."""
        units, overrides = given.get("units") or [], given.get("overrides") or []
        absent = given.get("absent") or []
        platform = given["families"][given["family"]]
        places = declared.Places(**given["places"])
        closed = [one["name"] for one in declared.admitting(overrides)]
        requires = [{"program": declared.NFT, "package": "nftables"}] if closed else []
        kind: declared.Systemd | declared.OpenRC
        own: dict[str, Any] | None = None
        if given["manager"] == "systemd":
            kind = declared.Systemd(units, overrides)
        else:
            kind = declared.OpenRC(units, overrides, platform["cron"], places, given["mark"])
            requires += platform["log_programs"] + (platform["cron"]["programs"] if kind.jobs else [])
            own = {
                "replaced": [one["name"] for one in kind.replaced],
                "kept": [one["name"] for one in kind.kept],
                "diverts": platform["diverts"],
                "aside": places.aside,
                "jobs": f"{places.libexec}/jobs",
                "cron_folder": platform["cron"]["folder"],
                "cron_table": platform["cron"]["table"],
            }
        folders = kind.folders() + ([{"path": places.admit_dir, "mode": "0755"}] if closed else [])
        files = [*declared.tables(overrides, places), *kind.files()]
        return {
            "manager": given["manager"],
            "requires": requires,
            "mark": given["mark"],
            "folders": folders,
            "files": [rendered(self, file, variables) for file in files],
            "units": declared.timed(units),
            "absent": absent,
            "prune": given.get("prune") or [],
            "services": kind.services() if given.get("start", True) else [],
            "admit": {
                "folder": places.admit_dir,
                "closed": closed,
                "open": [*absent, *(one["name"] for one in overrides if one["name"] not in closed)],
            },
            **({"openrc": own} if own else {}),
        }

    def _install(self, names: list[str], platform: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Install packages, as M(ansible.builtin.package) does."""
        given = {"name": names, "state": "present", **platform.get("package_options", {})}
        return {**run_other(self, "ansible.builtin.package", given, variables), "names": names}
