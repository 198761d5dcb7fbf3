"""What actions of the collection share, on the controller."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


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
