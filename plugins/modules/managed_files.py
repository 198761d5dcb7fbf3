#!/usr/bin/python
"""Module managed_files: brings several folders and files into their state in one go."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: managed_files
short_description: Brings several folders and files into their state in one go
description:
  - Does what M(ansible.builtin.file) and M(ansible.builtin.copy) with C(content) do, in one task for all of them. Each
    of those would be a program that is sent and started for each file.
  - Each file is written by a rename, so that nobody reads half of it; a symbolic link in its place is replaced.
options:
  folders:
    description:
      - Folders, each with C(path), C(mode) and, unless they are root's, C(owner) and C(group), by name or number.
    type: list
    elements: dict
    default: []
  files:
    description:
      - The same of files, with C(content). In place of it C(src) may name a template of the role, which sees C(vars)
        besides all variables; it is rendered on the controller.
    type: list
    elements: dict
    default: []
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Write the settings
  managed_files:
    folders: [{path: /etc/slipway/web, mode: '0755'}]
    files: [{path: /etc/slipway/web/nginx.conf, content: "events {}\n", mode: '0644'}]
"""

_NEW = ".slipway-new"


def _number(name: object, kind: str) -> int:
    """Return the number of a user or a group. Raises KeyError for a name there isn't."""
    text = str(name)
    if text.isdecimal():
        return int(text)
    return pwd.getpwnam(text).pw_uid if kind == "owner" else grp.getgrnam(text).gr_gid


class Wanted:
    """A folder or a file as it is to be."""

    def __init__(self, given: dict[str, Any], *, folder: bool) -> None:
        """Read what the task says of it. Raises KeyError or ValueError for what isn't there or no mode."""
        self.path = Path(given["path"])
        self.folder = folder
        self.content = b"" if folder else str(given["content"]).encode()
        self.uid = _number(given.get("owner", "root"), "owner")
        self.gid = _number(given.get("group", "root"), "group")
        self.mode = int(str(given["mode"]), 8)

    def state(self) -> dict[str, str]:
        """Return owner, group and mode as a diff shows them."""
        return {"owner": str(self.uid), "group": str(self.gid), "mode": f"{self.mode:04o}"}

    def found(self) -> os.stat_result | None:
        """Return what is there, if it is of the right kind. Raises OSError for a folder in a file's place."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return None
        if self.folder:
            # A link to a folder may be the host's own way to have it elsewhere.
            return self.path.stat() if self.path.is_dir() else None
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(f"{self.path} is a folder")
        return found if stat.S_ISREG(found.st_mode) else None

    def change(self) -> dict[str, str] | None:
        """Return the difference to what is there, or None. Raises OSError."""
        found = self.found()
        there = (
            {"owner": str(found.st_uid), "group": str(found.st_gid), "mode": f"{stat.S_IMODE(found.st_mode):04o}"}
            if found
            else {}
        )
        before = b"" if found is None or self.folder else self.path.read_bytes()
        if found and there == self.state() and before == self.content:
            return None
        # Line by line what differs of owner, group and mode, then the text.
        old, new = (
            "".join(f"{key}: {value}\n" for key, value in one.items() if there.get(key) != self.state()[key])
            for one in (there, self.state())
        )
        return {
            "before_header": str(self.path),
            "after_header": str(self.path),
            "before": old + before.decode(errors="replace"),
            "after": new + self.content.decode(errors="replace"),
        }

    def write(self) -> None:
        """Bring it into its state. Raises OSError."""
        if self.folder:
            self.path.mkdir(parents=True, exist_ok=True)
            os.chown(self.path, self.uid, self.gid)
            self.path.chmod(self.mode)
            return
        found = self.found()
        if found and self.path.read_bytes() == self.content:
            os.chown(self.path, self.uid, self.gid)
            self.path.chmod(self.mode)
            return
        new = self.path.with_name(f".{self.path.name}{_NEW}")
        # One that a cut run left.
        new.unlink(missing_ok=True)
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(self.content)
            os.fchown(file.fileno(), self.uid, self.gid)
            os.fchmod(file.fileno(), self.mode)
        new.replace(self.path)


def main() -> None:
    """Run the module."""
    items = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(argument_spec={"folders": items, "files": items}, supports_check_mode=True)
    diffs = []
    path = ""
    try:
        for kind in ("folders", "files"):
            for given in module.params[kind]:
                path = given.get("path", "")
                wanted = Wanted(given, folder=kind == "folders")
                if difference := wanted.change():
                    diffs.append(difference)
                    if not module.check_mode:
                        wanted.write()
    except (OSError, KeyError, ValueError) as error:
        module.fail_json(msg=f"{path}: {error}")
    shown = {"diff": diffs} if module._diff and diffs else {}
    module.exit_json(changed=bool(diffs), **shown)


if __name__ == "__main__":
    main()
