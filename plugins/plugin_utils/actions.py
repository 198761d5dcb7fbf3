"""What actions of the collection share, on the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader


def run_other(
    action: ActionBase, name: str, arguments: dict[str, Any], variables: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the result of another action, run as the task of this one would with other arguments."""
    task = action._task.copy()
    task.args = arguments
    other = action._shared_loader_obj.action_loader.get(
        name,
        task=task,
        connection=action._connection,
        play_context=action._play_context,
        loader=action._loader,
        templar=action._templar,
        shared_loader_obj=action._shared_loader_obj,
    )
    result: dict[str, Any] = other.run(task_vars=variables)
    return result


def rendered(action: ActionBase, given: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """Return a file with its text as C(content).

    It is that of the template C(src), which sees C(vars) besides all variables, or of the role's own C(file).
    """
    file = dict(given)
    more = file.pop("vars", {})
    if source := file.pop("file", None):
        file["content"] = Path(action._find_needle("files", source)).read_text(encoding="utf-8")
    elif source := file.pop("src", None):
        lookup = lookup_loader.get("ansible.builtin.template", loader=action._loader, templar=action._templar)
        file["content"] = str(lookup.run([source], variables, template_vars=more)[0])
    return file
