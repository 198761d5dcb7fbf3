#!/usr/bin/python
"""Module stack_service: one service of the container stack, with all that it has on the host."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.stack.plugins.module_utils.container_stack import (
    Container,
    called,
    composed,
    configurations,
    differing,
    leftovers,
    listed,
    listing,
    marked,
    mtimes,
    orphans,
    section,
)
from ansible_collections.slipway.stack.plugins.module_utils.managed import brought

DOCUMENTATION = r"""
module: stack_service
short_description: Creates, updates or removes a service of the container stack
description:
  - Writes the service's folders, files, secrets, build context and Compose file, starts its containers, waits until
    they are healthy, and removes what an earlier declaration left.
  - Compose is called only where the Engine has no container of the service that runs, is healthy and was made of what
    is declared. A container that was stopped, removed, or made of other files is put right.
  - The action of this name works out most options from a declaration, so a task gives no more than C(declaration).
  - In check mode nothing is written or started, and what would be is reported as a change. The content of secrets is
    never shown.
options:
  declaration:
    description:
      - Name of the variable that holds the declaration, as the role C(container_stack) describes it. By its name,
        because it holds secrets.
    type: str
  state:
    description: Whether the service is to be there. Of one that is C(absent) the volumes stay.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the service.
    type: str
  dir:
    description: Folder of the stack.
    type: path
    required: true
  volumes_dir:
    description: Folder of the folders behind the volumes.
    type: path
  project:
    description: Name of the Compose project.
    type: str
    required: true
  docker:
    description: Path of Docker's program.
    type: path
    default: /usr/bin/docker
  registry:
    description: What the names of images begin with.
    type: str
  base:
    description: Name of the base image.
    type: str
  archive:
    description: Folder by which image builds reach the distribution's archive; empty where they need none.
    type: str
    default: ''
  refresh:
    description: Any text; with another one the image is built again.
    type: str
    default: ''
  wait_timeout:
    description: Seconds until the containers must be healthy.
    type: int
    default: 240
  image:
    description: Name of the image. Set by the action.
    type: str
  folders:
    description: Folders, as M(managed_files) takes them. Set by the action.
    type: list
    elements: dict
    default: []
  files:
    description: Files, as M(managed_files) takes them. Set by the action.
    type: list
    elements: dict
    default: []
  secrets:
    description: Files of secrets, without their content. Set by the action.
    type: list
    elements: dict
    default: []
  contents:
    description: Content of the secrets, by their paths. Set by the action.
    type: dict
    default: {}
  secrets_pruned:
    description: Patterns of paths of secrets that are this service's alone. Set by the action.
    type: list
    elements: str
    default: []
  compose:
    description: The Compose file, but for its volumes. Set by the action.
    type: str
  volumes:
    description: The section C(volumes) of the Compose file. Set by the action.
    type: str
    default: ''
  services:
    description: What the container of each Compose service is to be. Set by the action.
    type: dict
    default: {}
  check:
    description: Command that must succeed in a new container before any that runs is replaced. Set by the action.
    type: str
    default: ''
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Run the service
  stack_service:
    declaration: container_stack_service
    dir: /opt/slipway/stack
    volumes_dir: /srv/slipway/volumes
    project: slipway
    registry: slipway.invalid
    base: slipway.invalid/base:trixie
"""

RETURN = r"""
started:
  description: Whether containers of the service were created or started.
  returned: always
  type: bool
pending:
  description: Whether check mode leaves its containers as they are, though they are not what is declared.
  returned: always
  type: bool
"""

# Whose the stack's own files are: root's, as whom the module runs.
_OWN = {"owner": os.geteuid(), "group": os.getegid()}
# Lines of what Compose said that are shown where it failed.
_SHOWN = 30


class FailedError(Exception):
    """What the user is told."""


def _ids(present: list[Container], services: set[str] | None = None) -> set[tuple[str, str]]:
    """Return the containers of these services, or of all, by what changes when they are created or started."""
    return {(one.number, one.state) for one in present if services is None or one.service in services}


class Stack:
    """The service on this host."""

    def __init__(self, module: AnsibleModule) -> None:
        """Take the module with its options."""
        self.module = module
        self.given = module.params
        self.name: str = self.given["name"]
        self.folder = Path(self.given["dir"])
        self.own = self.folder / self.name
        self.file = self.folder / "compose.d" / f"{self.name}.yml"
        # What was running when Compose had last been called with success.
        self.applied = self.folder / "applied" / self.name
        self.diffs: list[dict[str, str]] = []
        self.changed = False

    def text(self, path: Path) -> str:
        """Return a file's text; empty if there is none."""
        return path.read_text() if path.is_file() else ""

    def write(self, path: Path, content: str, mode: str = "0644") -> bool:
        """Bring a file of the user's own (root's) into its state, and tell whether that is a change."""
        made = self.bring([], [{"path": str(path), "content": content, "mode": mode, **_OWN}])
        self.diffs += made
        return bool(made)

    def bring(self, folders: list[dict[str, Any]], files: list[dict[str, Any]]) -> list[dict[str, str]]:
        """Bring folders and files into their state, and return what differed."""
        found: list[dict[str, str]] = brought(self.module, folders, files)
        self.changed = self.changed or bool(found)
        return found

    def remove(self, path: Path) -> None:
        """Remove a file; one that isn't there is no change."""
        if path.is_symlink() or path.exists():
            self.changed = True
            self.diffs.append({"before_header": str(path), "before": "present\n", "after": ""})
            if not self.module.check_mode:
                path.unlink()

    def compose(self, *arguments: str, progress: str = "plain") -> None:
        """Call Compose in the stack's folder. Raises FailedError with the end of what it said."""
        program = [self.given["docker"], "compose", "--ansi", "never", "--progress", progress]
        # Named here, whatever the file for people says: a run that was cut may have left it behind.
        paths = [self.folder / "compose.yml", *sorted(self.file.parent.glob("*.yml"))]
        program += ["--project-directory", str(self.folder), *(f"--file={path}" for path in paths)]
        argv = [*program, *arguments]
        code, out, err = called(lambda: self.module.run_command(argv, cwd=str(self.folder)))
        if code:
            said = "\n".join((out + err).strip().splitlines()[-_SHOWN:])
            raise FailedError(f"docker compose {arguments[0]} ({self.name}) failed with {code}:\n{said}")

    def containers(self) -> list[Container] | None:
        """Return the project's containers, or None where check mode finds no Engine. Raises FailedError."""
        argv = listing(self.given["docker"], self.given["project"])
        if os.access(argv[0], os.X_OK):
            code, out, err = self.module.run_command(argv)
            if code == 0:
                found: list[Container] = listed(out)
                return found
        else:
            err = f"there is no {argv[0]}"
        if self.module.check_mode:
            return None
        raise FailedError(f"the Engine doesn't answer: {err.strip()}")

    def name_files(self, paths: list[Path]) -> None:
        """Write which Compose files there are, so that `docker compose` in the folder sees the same project."""
        names = ["compose.yml", *(f"compose.d/{path.name}" for path in sorted(paths))]
        self.write(self.folder / ".env", f"COMPOSE_FILE={':'.join(names)}\n")

    def present(self) -> dict[str, bool]:
        """Bring the service into its state; return what a role asks for."""
        given = self.given
        secrets = [{**item, "content": given["contents"][item["path"]]} for item in given["secrets"]]
        # The folders first: what is written where is found by them.
        self.diffs += self.bring(given["folders"], given["files"])
        self.diffs += [
            {**one, "before": "(secret)\n", "after": "(another secret)\n"} for one in self.bring([], secrets)
        ]
        written = mtimes([str(self.own), str(self.folder / "secrets")])
        text, labels = marked(given["compose"], given["services"], written)
        before = self.text(self.file)
        content = composed(text, given["volumes"], before)
        # That data is gone is no reason to write the file by itself.
        if content != before:
            content = composed(text, given["volumes"], before, self.gone(before))
        rewritten = self.write(self.file, content)
        files = sorted({*self.file.parent.glob("*.yml"), self.file})
        self.name_files(files)
        result = self.apply(labels, files, rewritten=rewritten)
        # Nothing mounts them any more: the services that did were orphans.
        named = [item["path"] for item in [*given["files"], *secrets]]
        for path in leftovers(written, named, str(self.own), given["secrets_pruned"]):
            self.remove(Path(path))
        return result

    def gone(self, text: str) -> list[str]:
        """Return the volumes of a Compose file of this service that have no data any more, and that no other mounts.

        Those that never have any, such as folders in memory, go with the first that had.
        """
        others = "\n".join(self.text(path) for path in self.file.parent.glob("*.yml") if path != self.file)
        folder = Path(self.given["volumes_dir"])
        named = section(text, "volumes")
        if all((folder / name).exists() for name, rest in named.items() if f"device: {folder}/{name}" in rest):
            return []
        return [
            name
            for name in named
            if not (folder / name).exists() and not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", others)
        ]

    def apply(self, labels: dict[str, str], files: list[Path], *, rewritten: bool) -> dict[str, bool]:
        """Have Compose start what doesn't run as declared; return what a role asks for."""
        services = self.given["services"]
        before = self.containers()
        if before is None:
            return {"started": False, "pending": True}
        noted = dict(re.findall(r"(?m)^(\S+) (\S+)$", self.text(self.applied)))
        lacking = differing(before, services, labels, self.given["image"], noted)
        left = orphans(before, [self.text(path) for path in files])
        if not (rewritten or lacking or left):
            return {"started": False, "pending": False}
        if self.module.check_mode:
            self.changed = True
            self.diffs += [
                {"before_header": f"containers of {name}", "before": "", "after": "as declared\n"} for name in lacking
            ]
            self.diffs += [
                {"before_header": f"containers of {name}", "before": "present\n", "after": ""} for name in left
            ]
            return {"started": False, "pending": True}
        # What takes the place of a container that serves must be able to start.
        if self.given["check"] and any(one.service in services for one in before):
            run = ["run", "--rm", "--no-deps", "--no-TTY", next(iter(services))]
            self.compose(*run, *shlex.split(self.given["check"]), progress="quiet")
        wait = ["--wait", "--wait-timeout", str(self.given["wait_timeout"])]
        self.compose("up", "--detach", "--no-color", "--quiet-pull", "--remove-orphans", *wait, *services)
        after = self.containers() or []
        changed = _ids(before) != _ids(after)
        self.changed = self.changed or changed
        self.note(configurations(after, services))
        return {"started": _ids(before, set(services)) != _ids(after, set(services)), "pending": False}

    def note(self, found: dict[str, str]) -> None:
        """Note with which configurations its containers were made; none of the user's business, so no change."""
        folder = {"path": str(self.applied.parent), "mode": "0755", **_OWN}
        content = "".join(f"{name} {value}\n" for name, value in sorted(found.items()))
        brought(self.module, [folder], [{"path": str(self.applied), "content": content, "mode": "0644", **_OWN}])

    def absent(self) -> dict[str, bool]:
        """Take the service out of the stack, but for its volumes; return what a role asks for."""
        text = self.text(self.file)
        services = list(section(text, "services"))
        rest = composed("", "", text)
        if not text or (not services and not self.own.exists()):
            return {"started": False, "pending": False}
        self.changed = True
        # While the file is still there: a run that is cut here begins again.
        if services and not self.module.check_mode:
            self.compose("rm", "--stop", "--force", *services)
        kept = bool(section(rest, "volumes"))
        self.name_files([path for path in self.file.parent.glob("*.yml") if kept or path != self.file])
        for name in section(text, "secrets"):
            self.remove(self.folder / "secrets" / name)
        self.remove(self.applied)
        self.diffs.append({"before_header": str(self.own), "before": "present\n", "after": ""})
        if not self.module.check_mode:
            self.module.run_command(["rm", "-rf", "--one-file-system", str(self.own)], check_rc=True)
        # Another service mounts its volumes until its own file is written, and the data behind them stays as well.
        if kept:
            self.write(self.file, rest)
        else:
            self.remove(self.file)
        return {"started": False, "pending": False}


def main() -> None:
    """Run the module."""
    items = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "declaration": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            "dir": {"type": "path", "required": True},
            "volumes_dir": {"type": "path"},
            "project": {"type": "str", "required": True},
            "docker": {"type": "path", "default": "/usr/bin/docker"},
            "registry": {"type": "str"},
            "base": {"type": "str"},
            "archive": {"type": "str", "default": ""},
            "refresh": {"type": "str", "default": ""},
            "wait_timeout": {"type": "int", "default": 240},
            "image": {"type": "str"},
            "folders": items,
            "files": items,
            "secrets": {**items, "no_log": False},
            "contents": {"type": "dict", "default": {}, "no_log": True},
            "secrets_pruned": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "compose": {"type": "str"},
            "volumes": {"type": "str", "default": ""},
            "services": {"type": "dict", "default": {}},
            "check": {"type": "str", "default": ""},
        },
        required_if=[("state", "present", ["image", "compose", "volumes_dir"])],
        supports_check_mode=True,
    )
    stack = Stack(module)
    try:
        result = stack.present() if module.params["state"] == "present" else stack.absent()
    except (FailedError, OSError) as error:
        module.fail_json(msg=str(error))
    shown = {"diff": stack.diffs} if module._diff and stack.diffs else {}
    module.exit_json(changed=stack.changed, **result, **shown)


if __name__ == "__main__":
    main()
