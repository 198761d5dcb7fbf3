"""Filter of the action managed_files: the files that each of several things has."""

from __future__ import annotations

from typing import Any

DOCUMENTATION = r"""
name: managed_files
short_description: The files that each of several things has
description:
  - C(managed_files_each) returns a file for each item of a list, as M(managed_files) takes it - from one template,
    which sees the item as the variable C(variable), and with a path in which C({name}) stands for the item's name.
"""


def each(items: list[dict[str, Any]], src: str, path: str, variable: str = "item", **more: Any) -> list[dict[str, Any]]:
    """Return a file for each item; ``more`` is what all of them have, such as ``mode``."""
    return [
        {"src": src, "path": path.replace("{name}", item["name"]), "vars": {variable: item}, **more} for item in items
    ]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"managed_files_each": each}
