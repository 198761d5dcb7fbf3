"""Works a declaration out as the action of this name does, and writes below a folder of the test, not to the host."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from ansible_collections.slipway.stack.plugins.module_utils.container_stack import composed, marked

_PATH = Path(__file__).parents[3] / "plugins/action/stack_service.py"
_SPEC = importlib.util.spec_from_file_location("real_stack_service", _PATH)
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
        given = module_args or {}
        result = {"changed": True, "started": False, "pending": True}
        if given.get("state") == "absent":
            return result
        root = Path(os.environ["RENDER_ROOT"]) / str(task_vars["inventory_hostname"])
        stack = root / str(given["dir"]).lstrip("/")
        own = stack / "compose.d" / f"{given['name']}.yml"
        text = composed(marked(given["compose"], given["services"], {})[0], given["volumes"], "")
        secrets = [{**item, "content": given["contents"][item["path"]]} for item in given["secrets"]]
        names = sorted({path.name for path in own.parent.glob("*.yml")} | {own.name})
        listed = ":".join(["compose.yml", *(f"compose.d/{name}" for name in names)])
        for file in [
            *given["files"],
            *secrets,
            {"path": own.relative_to(root), "content": text, "mode": "0644"},
            {"path": (stack / ".env").relative_to(root), "content": f"COMPOSE_FILE={listed}\n", "mode": "0644"},
        ]:
            target = root / str(file["path"]).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.write_text(file["content"])
            target.chmod(int(str(file["mode"]), 8))
        return result
