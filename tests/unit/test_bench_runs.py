"""What a run costs: measured here on playbooks for this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import runs
from bench.runs import BenchError, Cost

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.stat: {path: /}
    - ansible.builtin.debug: {msg: x}
      when: false
    - ansible.builtin.debug: {msg: x}
      changed_when: %s
"""


def cost(tmp_path: Path, changed: str) -> Cost:
    (tmp_path / "play.yml").write_text(PLAY % changed)
    (tmp_path / "hosts").write_text(
        "here ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'"
    )
    return runs.measure(tmp_path / "play.yml", tmp_path / "hosts")


def test_a_run_is_measured(tmp_path: Path) -> None:
    found = cost(tmp_path, "false")
    assert found.tasks == 3
    assert found.wall > 0
    assert found.processor > 0


def test_a_run_that_changes_something_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="changed something"):
        cost(tmp_path, "true")


def test_one_unit_is_a_hundred_tasks(tmp_path: Path) -> None:
    assert runs.floor(tmp_path).read_text().count("stat:") == 100


def test_medians_are_told_in_units() -> None:
    unit = runs.medians([Cost(9, 2, 100), Cost(30, 3, 100), Cost(10, 2, 100)])
    assert unit == Cost(10, 2, 100)
    assert runs.report(unit, Cost(25, 8, 400), "linear").splitlines()[-1].split() == [
        *("unchanged", "run", "25.0", "2.50", "8.0", "400"),
    ]
