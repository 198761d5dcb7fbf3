"""Strategy slipway_fast: linear, with Mitogen's way to run modules. Several times faster with many small tasks."""

from __future__ import annotations

import ansible_mitogen.strategy
from ansible.plugins.loader import strategy_loader

DOCUMENTATION = r"""
name: slipway_fast
short_description: The linear strategy, sped up by Mitogen
description:
  - Keeps one Python process on each host for the whole run instead of starting one for each task.
  - Needs the Python package C(mitogen) on the controller, which requirements.lock brings.
  - The Makefile chooses it; C(ANSIBLE_STRATEGY=linear) goes back to Ansible's own.
author: the Slipway authors
"""

_LINEAR = strategy_loader.get("linear", class_only=True)


class StrategyModule(ansible_mitogen.strategy.StrategyMixin, _LINEAR):  # type: ignore[misc,valid-type]
    """Runs tasks in step on all hosts, through Mitogen."""
