"""Stands in for Ansible's copy, and so for template: writes below a folder of the test instead of to the host."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        arguments = self._task.args
        content, source = arguments.get("content"), arguments.get("src")
        name = ""
        if source is not None:
            path = Path(source if Path(source).is_absolute() else self._find_needle("files", source))
            if path.is_dir():
                return {"changed": True}
            name, data = path.name, path.read_bytes()
        else:
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
        assert task_vars is not None
        root = Path(os.environ["RENDER_ROOT"]) / str(task_vars["inventory_hostname"])
        wanted = str(arguments["dest"])
        target = root / wanted.lstrip("/")
        if wanted.endswith("/"):
            target /= name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(data)
        target.chmod(int(str(arguments.get("mode") or "0600"), 8))
        return {"changed": True, "dest": wanted, "diff": []}
