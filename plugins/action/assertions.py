"""Action assertions: makes many assertions in one task, and says all that fail at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

DOCUMENTATION = r"""
module: assertions
short_description: Makes many assertions in one task
description:
  - A task costs a process of the controller, whatever it does, and a run makes a hundred assertions.
  - All that fail are said, a line each. One that can't be worked out ends the task, unless others failed before it,
    which may well be the reason.
options:
  checks:
    description: The assertions, in their order.
    type: list
    elements: dict
    required: true
    suboptions:
      that:
        description: Conditions that all must hold.
        type: list
        elements: str
        required: true
      fail_msg:
        description: What is said otherwise; nothing of it is worked out before.
        type: str
        required: true
      when:
        description: Conditions without which the assertion isn't made.
        type: list
        elements: str
      loop:
        description: The assertion is made for each of these, with C(item).
        type: list
        elements: raw
      vars:
        description: Variables of this assertion.
        type: dict
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Assert that the settings are possible
  assertions:
    checks:
      - that: port > 1023
        fail_msg: "port: {{ port }} is not allowed; give 1024 or more"
      - that: item is match('/')
        fail_msg: "folders: '{{ item }}' is not allowed; give absolute paths"
        loop: "{{ folders }}"
"""

_REQUIRED = {"that", "fail_msg"}
_KEYS = _REQUIRED | {"when", "loop", "vars"}


def _hold(templar: Any, conditions: Any) -> bool:
    """Tell whether all conditions hold, one or a list of them. Raises AnsibleError."""
    listed = conditions if isinstance(conditions, list) else [conditions]
    return all(templar.evaluate_conditional(condition) for condition in listed)


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no type information
    """Asks one assertion after the other."""

    _requires_connection = False

    @classmethod
    def finalize_task_arg(cls, name: str, value: Any, templar: Any, context: Any) -> Any:  # noqa: ARG003 - Ansible's signature
        """Leave everything as it is written: what an assertion says may make no sense where it holds."""
        return value

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return all messages of assertions that don't hold. Raises AnsibleError."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        checks = self._task.args.get("checks")
        if set(self._task.args) != {"checks"} or not isinstance(checks, list):
            raise AnsibleActionFail("assertions takes a list, checks, and nothing else")
        failed: list[str] = []
        for check in checks:
            if not (isinstance(check, dict) and _REQUIRED <= check.keys() <= _KEYS):
                raise AnsibleActionFail(f"an assertion has that and fail_msg, and perhaps when, loop and vars: {check}")
            try:
                failed += self._failures(check, task_vars or {})
            except AnsibleError:
                if not failed:
                    raise
                break
        if failed:
            return {**result, "failed": True, "msg": "\n".join(failed)}
        return {**result, "changed": False}

    def _failures(self, check: dict[str, Any], variables: dict[str, Any]) -> Iterator[str]:
        """Yield the message of each item for which an assertion doesn't hold."""
        named = {**variables, **check.get("vars", {})}
        loop = self._templating(named).template(check["loop"]) if "loop" in check else [None]
        for item in loop:
            templar = self._templating({**named, "item": item} if "loop" in check else named)
            if _hold(templar, check.get("when", [])) and not _hold(templar, check["that"]):
                yield str(templar.template(check["fail_msg"]))

    def _templating(self, variables: dict[str, Any]) -> Any:
        return self._templar.copy_with_new_env(available_variables=variables)
