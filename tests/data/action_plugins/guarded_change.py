"""Renders as the action of this name does, and writes below a folder of the test instead of to the host."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

_PATH = Path(__file__).parents[3] / "plugins/action/guarded_change.py"
_SPEC = importlib.util.spec_from_file_location("real_guarded_change", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_REAL = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_REAL)


class ActionModule(_REAL.ActionModule):  # type: ignore[misc,name-defined]  # Ansible has no type information
    _requires_connection = False

    def _execute_module(
        self,
        module_name: str = "",  # noqa: ARG002 - Ansible's signature
        module_args: dict[str, Any] | None = None,
        task_vars: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        assert task_vars is not None
        root = Path(os.environ["RENDER_ROOT"]) / str(task_vars["inventory_hostname"])
        for file in (module_args or {})["files"]:
            target = root / str(file["path"]).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.write_text(file["content"])
            target.chmod(int(str(file["mode"]), 8))
        return {"changed": True, "armed": False}
