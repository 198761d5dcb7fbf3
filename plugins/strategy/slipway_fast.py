"""Strategy slipway_fast: linear, with Mitogen's way to run modules. Several times faster with many small tasks."""

from __future__ import annotations

import sys
from typing import Any

import ansible_mitogen.planner
import ansible_mitogen.strategy
from ansible.plugins.loader import strategy_loader
from ansible.utils.display import Display

DOCUMENTATION = r"""
name: slipway_fast
short_description: The linear strategy, sped up by Mitogen
description:
  - Keeps one Python process on each host for the whole run instead of starting one for each task.
  - Needs the Python package C(mitogen) on the controller, which requirements.lock brings.
  - Where the path of the controller's Python has a blank, which Mitogen takes for the end of it, it is the linear
    strategy alone.
  - The Makefile chooses it; C(ANSIBLE_STRATEGY=linear) goes back to Ansible's own.
author: the Slipway authors
"""

_LINEAR = strategy_loader.get("linear", class_only=True)


def load_collection(invocation: Any) -> None:
    """Have Mitogen import from the collection of a module.

    It would read all that are installed, and warn of one inside Ansible that nobody can do anything about.
    """
    invocation._extra_sys_paths.add(invocation.module_path.partition("/plugins/modules/")[0])


ansible_mitogen.planner._load_collections = load_collection

if any(character.isspace() for character in sys.executable):
    Display().display(f"Without Mitogen, and slower: there is a blank in the path {sys.executable}")

    class StrategyModule(_LINEAR):  # type: ignore[misc,valid-type]
        """Runs tasks in step on all hosts."""

else:

    class StrategyModule(ansible_mitogen.strategy.StrategyMixin, _LINEAR):  # type: ignore[misc,valid-type,no-redef]
        """Runs tasks in step on all hosts, through Mitogen."""

        def _queue_task(self, host: Any, task: Any, task_vars: Any, play_context: Any) -> None:
            """Call a module of the collection by its full name: Mitogen looks for a short one in the paths alone."""
            if str(task.resolved_action).startswith("slipway.stack."):
                task.action = task.resolved_action
            super()._queue_task(host, task, task_vars, play_context)
