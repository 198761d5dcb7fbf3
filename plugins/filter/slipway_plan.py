"""Filters that tell which variables a user may set, before the plan sets others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils.plan import DERIVED
from .slipway_roles import role_options

DOCUMENTATION = r"""
name: slipway_plan
short_description: Tells which variables of roles can't be set
description:
  - C(slipway_worked_out) tells which of some variables are worked out from the list of sites, so that nobody can set
    them.
  - C(slipway_unknown_variables) tells which of them no role has, given the folder of the roles.
"""


def worked_out(names: list[str]) -> list[str]:
    """Return those variables that the plan sets."""
    return [name for name in names if name in DERIVED]


def unknown_variables(names: list[str], folder: str) -> list[str]:
    """Return those variables that no specification of a role has."""
    known: set[str] = set()
    for path in Path(folder).glob("*/meta/argument_specs.yml"):
        known |= role_options(str(path)).keys()
    return [name for name in names if name not in known]


class FilterModule:
    """Makes the filters known to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"slipway_worked_out": worked_out, "slipway_unknown_variables": unknown_variables}
