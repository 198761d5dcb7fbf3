"""Stands in for what adds lines to a file that others write too: adds them once, below a folder of the test."""

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
        target = root / str(self._task.args["path"]).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        text = f"{str(self._task.args['text']).rstrip()}\n"
        with target.open("a+") as file:
            file.seek(0)
            if text not in file.read():
                file.write(text)
        target.chmod(int(str(self._task.args["mode"]), 8))
        return {"changed": True}
