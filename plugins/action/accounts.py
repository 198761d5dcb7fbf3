"""Action accounts: has the module of this name look at all users, and brings those that differ into their state."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


def _lines(state: dict[str, Any]) -> str:
    return "".join(f"{key}: {', '.join(value) if isinstance(value, list) else value}\n" for key, value in state.items())


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Calls Ansible's own modules for the few users that differ."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result; a failure names the user."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # By the name it was called by: the short one is known in the checkout, and in the collection's own roles.
        looked = self._execute_module(self._task.action, self._task.args, task_vars=task_vars)
        if looked.get("failed"):
            return {**result, **looked}
        for user in looked["differing"] if not self._task.check_mode else []:
            for module, arguments in self._calls(user):
                done = self._execute_module(module, arguments, task_vars=task_vars)
                if done.get("failed"):
                    return {**result, "failed": True, "msg": f"{user['name']}: {done.get('msg')}"}
        result["changed"] = bool(looked["differing"])
        if self._task.diff and looked["differing"]:
            result["diff"] = [
                {
                    "before_header": f"user {user['name']}",
                    "after_header": f"user {user['name']}",
                    "before": _lines(user["before"]),
                    "after": _lines(user["after"]),
                }
                for user in looked["differing"]
            ]
        return result

    @staticmethod
    def _calls(user: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return the modules to call, with their arguments."""
        joins = {"name": user["name"], "groups": user["groups"], "append": True}
        if user["uid"] is None:
            return [("ansible.legacy.user", joins)]
        made = {"uid": user["uid"], "group": user["name"], "home": user["home"], "shell": user["shell"]}
        return [
            ("ansible.legacy.group", {"name": user["name"], "gid": user["uid"]}),
            ("ansible.legacy.user", {**joins, **made, "create_home": False}),
        ]
