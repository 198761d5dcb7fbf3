"""Action stack_service: turns the declaration of a service into what the module of this name writes and starts."""

from __future__ import annotations

from typing import Any

import yaml
from ansible.plugins.action import ActionBase
from ansible_collections.slipway.stack.plugins.module_utils import container_stack


def plain(value: Any) -> Any:
    """Return a variable's value with all in it worked out, of Python's own types."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    # Ansible's own strings and numbers know where they come from, and no writer of YAML knows them.
    return next((kind(value) for kind in (bool, int, float, str) if isinstance(value, kind)), value)


def written(value: dict[str, Any]) -> str:
    """Return a mapping as a Compose file has it; nothing for an empty one."""
    # Two blanks for each level and no line broken, as container_stack.section reads it.
    return yaml.safe_dump(value, indent=2, width=100000, default_flow_style=False) if value else ""


def arguments(given: dict[str, Any], declaration: dict[str, Any]) -> dict[str, Any]:
    """Return what the module gets for a declaration; ``given`` is what the task says."""
    name, folder, project = declaration["name"], given["dir"], given["project"]
    archive = given.get("archive", "")
    tag = container_stack.image_tag(
        given["base"], declaration["dockerfile"], declaration.get("context", []), given.get("refresh", "")
    )
    image = f"{given['registry']}/{name}:{tag}"
    made = container_stack.fragment(declaration, image, given["base"], folder, archive)
    volumes = container_stack.volumes(declaration, given["volumes_dir"], project)
    secrets = container_stack.secrets(declaration, folder)
    return {
        **given,
        **container_stack.files(declaration, folder, given["volumes_dir"]),
        "name": name,
        "image": image,
        "contents": {item["path"]: item["content"] for item in secrets},
        "secrets": [{key: value for key, value in item.items() if key != "content"} for item in secrets],
        "secrets_pruned": [f"{folder}/secrets/{pattern}" for pattern in declaration.get("secrets_pruned", [])],
        "compose": written(made),
        "volumes": written({"volumes": volumes} if volumes else {}),
        "services": container_stack.containers(declaration, made, folder, project),
        "check": declaration.get("check", ""),
    }


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Works out the declaration once, on the controller."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result. Raises AnsibleError for a declaration that can't be worked out."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = plain(dict(self._task.args))
        if given.get("state", "present") == "present":
            # Not a value of the task's, which a callback may show.
            declaration = plain(self._templar.resolve_variable_expression(given["declaration"]))
            given = arguments(given, declaration)
        # By its full name, by which Mitogen finds what it imports, too.
        module = self._execute_module("slipway.stack.stack_service", given, task_vars=task_vars)
        return {**result, **module}
