"""Notes for the acceptance tests how one becomes root on a host, and which secrets the inventory gives.

Each host has a file of its own, below a folder that `make verify` makes and removes. A module can't do that: the
password that ``--ask-become-pass`` asks for is no variable.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Keys of a WordPress site that hold a secret; its users have their own.
SECRET_KEYS = ("database_password", "cache_password", "ftp_password", "salt_seed")


def secrets_of(sites: list[dict[str, Any]]) -> dict[str, str]:
    """Return the secrets of these sites, which have all their keys, by the names that made ones have."""
    found: dict[str, str] = {}
    for site in sites:
        found |= {f"{site['name']}_{key}": str(site[key]) for key in SECRET_KEYS if key in site}
        users = [site["admin"], *site["users"]] if "admin" in site else []
        found |= {f"{site['name']}_wordpress_{user['name']}": str(user["password"]) for user in users}
    return found


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Writes the file."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing of what it wrote."""
        assert task_vars is not None
        host = str(task_vars["inventory_hostname"])
        become = self._connection.become
        password = become.get_option("become_pass", playcontext=self._play_context) if become else None
        content = {
            "host": host,
            "become_password": str(password or ""),
            "secrets": secrets_of(self._task.args["sites"]),
        }
        path = Path(str(self._task.args["folder"])) / f"{urllib.parse.quote(host, safe='')}.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file)
        return {"changed": False}
