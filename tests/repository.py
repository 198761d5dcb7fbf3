"""What the tests of the repository's own files share: where they are, and what they hold."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.playbook.task import Task as AnsibleTask

ROOT = Path(__file__).resolve().parents[1]
# How Ansible finds the checkout as the collection slipway.stack: a link to ROOT.
COLLECTION = ROOT / ".collections/ansible_collections/slipway/stack"
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())
ROLE_NAMES = [role.name for role in ROLES]

# Keys of a task that hold further tasks.
BLOCKS = ("block", "rescue", "always")


class Loader(yaml.SafeLoader):
    """Reads Ansible's own tags (!vault, !unsafe) as the plain value behind them."""


def _plain(loader: Loader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", _plain)


def load(path: Path) -> Any:
    """Read a YAML file; none if it isn't there."""
    if not path.exists():
        return None
    return yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 - a SafeLoader


# What Slipway serves with: role, group, and what the playbooks know of each.
COMPONENTS: list[dict[str, Any]] = load(ROOT / "playbooks/vars/components.yml")["__slipway_components"]


def strings(value: Any) -> Iterator[str]:
    """Yield every string in a value, keys of mappings included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(key)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def files() -> list[Path]:
    """Return what git tracks or would track, so that a mistake shows before it is committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


KEYWORDS = {*AnsibleTask.fattributes, *BLOCKS, "local_action"}


def module_of(task: dict[str, Any]) -> str | None:
    """Return the name of a task's module; none for a block."""
    return next((key for key in task if key not in KEYWORDS and not key.startswith("with_")), None)


@dataclass(frozen=True)
class Task:
    """A task, handler or block, where it stands, and what it inherits."""

    path: Path
    content: dict[str, Any]
    no_log: bool

    @property
    def name(self) -> str:
        return str(self.content.get("name", ""))

    @property
    def where(self) -> str:
        return f"{self.path.relative_to(ROOT)}: {self.name or self.content}"

    @property
    def module(self) -> str | None:
        return module_of(self.content)

    @property
    def arguments(self) -> Any:
        return self.content[self.module] if self.module else {}


def _walk(path: Path, entries: Any, no_log: bool) -> Iterator[Task]:
    for entry in entries or []:
        hidden = no_log or bool(entry.get("no_log", False))
        yield Task(path, entry, hidden)
        for key in BLOCKS:
            yield from _walk(path, entry.get(key), hidden)


def tasks_of(path: Path) -> list[Task]:
    """Return all tasks of a file of tasks or handlers, those in blocks included."""
    return list(_walk(path, load(path), no_log=False))


def _is_play(entry: Any) -> bool:
    plays = {"hosts", "import_playbook", "ansible.builtin.import_playbook"}
    return isinstance(entry, dict) and bool(plays & entry.keys())


def playbooks() -> list[Path]:
    """Return the playbooks; files of tasks beside them are no playbooks."""
    found = sorted([*ROOT.glob("*.yml"), *ROOT.glob("playbooks/**/*.yml")])
    return [path for path in found if isinstance(content := load(path), list) and _is_play(content[0])]


def all_tasks() -> list[Task]:
    """Return every task there is: of the roles, the playbooks and the files they include."""
    result = []
    for role in ROLES:
        for path in sorted([*role.glob("tasks/**/*.yml"), *role.glob("handlers/**/*.yml")]):
            result += tasks_of(path)
    plays = playbooks()
    for path in plays:
        for play in load(path):
            for key in ("pre_tasks", "tasks", "post_tasks", "handlers"):
                result += _walk(path, play.get(key), bool(play.get("no_log", False)))
    for path in sorted(ROOT.glob("playbooks/**/*.yml")):
        if path not in plays and isinstance(load(path), list):
            result += tasks_of(path)
    return result
