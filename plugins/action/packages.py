"""Action packages: has the module of this name look, and Ansible's own install what is missing."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase, VariableLayer
from ansible_collections.slipway.stack.plugins.plugin_utils.actions import run_other

# Those that the run has seen in place on the host.
_SEEN = "__slipway_packages_seen"


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Calls the package manager only where there is something to do."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result; where packages were missing it is that of M(ansible.builtin.package)."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        names, remember = arguments.get("names") or [], arguments.get("remember", False)
        seen = set(variables.get(_SEEN, []))
        if arguments.get("state", "present") == "absent":
            return {**result, **self._removed(arguments, names, seen, task_vars)}
        if isinstance(names, list) and set(names) <= seen:
            return {**result, "changed": False, "missing": [], "automatic": []}
        # By the name it was called by: the short one is known in the checkout, and in the collection's own roles.
        looked = self._execute_module(self._task.action, arguments, task_vars=task_vars)
        if looked.get("failed"):
            return {**result, **looked}
        absent = looked["missing"] + looked["automatic"]
        if not absent or not arguments.get("install", True):
            self._see(remember, [name for name in names if name not in absent])
            return {**result, **looked}
        given = {"name": names, "state": "present", **arguments.get("options", {})}
        done = run_other(self, "ansible.builtin.package", given, task_vars)
        if not done.get("failed") and not self._task.check_mode:
            self._see(remember, names)
        return {**result, **done, "missing": looked["missing"], "automatic": looked["automatic"]}

    def _removed(
        self, arguments: dict[str, Any], names: list[str], seen: set[str], task_vars: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Return the result of a task that removes packages."""
        looked: dict[str, Any] = self._execute_module(self._task.action, arguments, task_vars=task_vars)
        if looked.get("failed") or set(names) <= set(looked["missing"]):
            return looked
        if self._task.check_mode:
            # apk's module takes what a rehearsal leaves in place for a failure (community.general.apk).
            return {**looked, "changed": True}
        done = run_other(self, "ansible.builtin.package", {"name": names, "state": "absent"}, task_vars)
        self._see(bool(seen), sorted(seen - set(names)))
        return {**done, "missing": looked["missing"], "automatic": looked["automatic"]}

    def _see(self, remember: bool, names: list[str]) -> None:
        """Have the run know what is in place, in place of what it knew."""
        if remember:
            # For this run alone, never in a cache of facts.
            self.register_host_variables({}, VariableLayer.CACHEABLE_FACT)
            self.register_host_variables({_SEEN: list(names)}, VariableLayer.EPHEMERAL_FACT)
