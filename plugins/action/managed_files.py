"""Action managed_files: renders templates here, and has the module of this name write all files in one go."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.slipway.stack.plugins.plugin_utils.actions import rendered


class ActionModule(ActionBase):  # type: ignore[misc]
    """Gives each file with ``src`` the text of that template, which sees ``vars`` besides all variables."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = {
            **{kind: self._task.args.get(kind) or [] for kind in ("absent", "folders")},
            "files": [rendered(self, file, variables) for file in self._task.args.get("files") or []],
        }
        # By its full name, by which Mitogen finds what it imports, too.
        module = self._execute_module("slipway.stack.managed_files", arguments, task_vars=task_vars)
        return {**result, **module}
