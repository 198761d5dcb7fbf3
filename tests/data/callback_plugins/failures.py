"""Writes each failed task to a file, one JSON object a line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no type information
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "failures"

    def _write(self, result: Any) -> None:
        entry = {"host": result.host.get_name(), "task": str(result.task), "message": result.result.get("msg")}
        with Path(os.environ["RENDER_FAILURES"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, default=str) + "\n")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:  # noqa: ARG002
        # Of a loop the items have been written already.
        if "results" not in result.result:
            self._write(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        self._write(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write(result)
