"""Stands in for the module of this name: writes its files below a folder of the test instead of to the host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        assert task_vars is not None
        root = Path(os.environ["RENDER_ROOT"]) / str(task_vars["inventory_hostname"])
        for file in self._task.args["files"]:
            target = root / str(file["path"]).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file["content"])
            target.chmod(int(str(file["mode"]), 8))
        return {"changed": True, "usable": True, "recreated": []}
