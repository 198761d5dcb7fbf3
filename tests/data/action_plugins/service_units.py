"""Renders as the action of this name does, and writes below a folder of the test instead of to the host."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

_PATH = Path(__file__).parents[3] / "plugins/action/service_units.py"
_SPEC = importlib.util.spec_from_file_location("real_service_units", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_REAL = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_REAL)


class ActionModule(_REAL.ActionModule):  # type: ignore[misc,name-defined]  # Ansible has no type information
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
            text = file["content"]
            if "marker" in file:
                # Others write to it as well.
                before = target.read_text() if target.exists() else ""
                text = before if text in before else before + text
            target.unlink(missing_ok=True)
            target.write_text(text)
            target.chmod(int(str(file["mode"]), 8))
        return {"changed": True}
