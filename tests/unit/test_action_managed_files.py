"""Templates that are written in one task, by real runs of ansible-playbook on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit import running

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    greeting: "Hello, {{ one.name }}"
    mine: {owner: '%(uid)s', group: '%(gid)s', mode: '0644'}
  tasks:
    - managed_files:
        folders: [{path: "{{ playbook_dir }}/out", owner: '%(uid)s', group: '%(gid)s', mode: '0755'}]
        files:
          - "{{ mine | combine({'path': playbook_dir ~ '/out/a', 'src': 'page.j2', 'vars': {'one': {'name': 'a'}}}) }}"
          - "{{ mine | combine({'path': playbook_dir ~ '/out/b', 'src': 'page.j2', 'vars': {'one': {'name': 'b'}}}) }}"
          - "{{ mine | combine({'path': playbook_dir ~ '/out/c', 'content': 'plain {'}) }}"
    # What the module for one template makes of it is the measure.
    - ansible.builtin.template: {src: page.j2, dest: "{{ playbook_dir }}/out/a", mode: '0644'}
      vars: {one: {name: a}}
"""
TEMPLATE = "{% if one.name %}\n{{ greeting }}\n{% endif %}\n\\n {{ '{{' }}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/page.j2").write_text(TEMPLATE)
    (tmp_path / "play.yml").write_text(PLAYBOOK % {"uid": os.geteuid(), "gid": os.getegid()})
    return tmp_path


def test_templates_are_rendered_as_the_module_for_one_does(folder: Path) -> None:
    shown = running.playbook(folder, "--check", "--diff")
    assert "+Hello, a" in shown
    assert "+Hello, b" in shown
    assert not (folder / "out").exists()
    assert "changed=1 " in running.playbook(folder)
    assert (folder / "out/a").read_text() == "Hello, a\n\\n {{\n"
    assert (folder / "out/b").read_text() == "Hello, b\n\\n {{\n"
    assert (folder / "out/c").read_text() == "plain {"
    assert "changed=0 " in running.playbook(folder)
