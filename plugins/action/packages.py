"""Action packages: has the module of this name look, and Ansible's own install what is missing."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.stack.plugins.plugin_utils.actions import run_other


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Calls the package manager only where there is something to do."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result; where packages were missing it is that of M(ansible.builtin.package)."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # By the name it was called by: the short one is known in the checkout, and in the collection's own roles.
        looked = self._execute_module(self._task.action, self._task.args, task_vars=task_vars)
        if (
            looked.get("failed")
            or not self._task.args.get("install", True)
            or not looked["missing"] + looked["automatic"]
        ):
            return {**result, **looked}
        given = {"name": self._task.args["names"], "state": "present", **self._task.args.get("options", {})}
        done = run_other(self, "ansible.builtin.package", given, task_vars)
        return {**result, **done, "missing": looked["missing"], "automatic": looked["automatic"]}
