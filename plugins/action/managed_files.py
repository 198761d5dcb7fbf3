"""Action managed_files: renders templates here, and has the module of this name write all files in one go."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader


class ActionModule(ActionBase):  # type: ignore[misc]
    """Gives each file with ``src`` the text of that template, which sees ``vars`` besides all variables."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        files = []
        for item in self._task.args.get("files") or []:
            file = dict(item)
            if "src" in file:
                more = file.pop("vars", {})
                file["content"] = str(lookup.run([file.pop("src")], variables, template_vars=more)[0])
            files.append(file)
        arguments = {
            **{kind: self._task.args.get(kind) or [] for kind in ("absent", "folders")},
            "files": files,
        }
        # By the name it was called by: the short one is known in the checkout, and in the collection's own roles.
        module = self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
        return {**result, **module}
