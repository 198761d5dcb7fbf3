"""Action wordpress_state: tells the module of this name what it has to know of each site, and shows what it says."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

# What the module takes of a site. The rest holds further secrets, which are none of its business.
_KEYS = ("name", "root", "url", "title", "language", "timezone", "permalinks", "admin", "users")


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Runs the module; what it was told, passwords among it, is not in the result."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result, which is shown at any verbosity."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        sites = [
            {**{key: site[key] for key in _KEYS if key in site}, "cached": "cache" in site}
            for site in self._task.args.get("sites") or []
        ]
        arguments = {**self._task.args, "sites": sites}
        # By the name it was called by: the short one is known in the checkout, and in the collection's own roles.
        module = self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
        module.pop("invocation", None)
        return {**result, **module, "_ansible_verbose_always": True}
