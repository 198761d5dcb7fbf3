#!/usr/bin/python
"""Module managed_files: brings several folders and files into their state in one go."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import stat
import tempfile
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
  - Nothing is changed before every file that is to be written and has C(validate) passed it. As with
    M(ansible.builtin.template), check mode doesn't validate, since the program may not be installed yet.
options:
  absent:
    description:
      - Absolute paths of files, links and folders to remove, the latter with all they hold. They are removed first, so
        that a path may be listed below O(folders) or O(files) as well.
    type: list
    elements: str
    default: []
  folders:
    description:
      - Folders, each with C(path), C(mode) and, unless they are root's, C(owner) and C(group), by name or number. In
        check mode a name may be unknown, since a package or a task that is skipped may add it.
    type: list
    elements: dict
    default: []
  files:
    description:
      - The same of files, with C(content). In place of it C(src) may name a template of the role, which sees C(vars)
        besides all variables; it is rendered on the controller.
      - C(validate) is a command that ends with an error for wrong content; C(%s) in it stands for the path of a copy.
    type: list
    elements: dict
    default: []
author: the Slipway authors
"""

RETURN = r"""
paths:
  description: The paths that were changed or, in check mode, would be.
  type: list
  elements: str
  returned: success
"""

EXAMPLES = r"""
- name: Write the settings
  managed_files:
    folders: [{path: /etc/slipway/web, mode: '0755'}]
    files: [{path: /etc/slipway/web/nginx.conf, content: "events {}\n", mode: '0644', validate: nginx -t -c %s}]
    absent: [/etc/slipway/web/old.conf]
"""

_NEW = ".slipway-new"


# No user or group has it; chown takes it for "as it is".
_UNKNOWN = -1


def _number(name: object, kind: str, *, check: bool) -> int:
    """Return the number of a user or a group. Raises KeyError for an unknown name, but not in check mode."""
    text = str(name)
    if text.isdecimal():
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid if kind == "owner" else grp.getgrnam(text).gr_gid
    except KeyError:
        if check:
            return _UNKNOWN
        raise


class Absent:
    """A file, a link or a folder that is to be gone."""

    def __init__(self, path: str) -> None:
        """Take the path. Raises ValueError for one that is not absolute, and for the root."""
        self.path = Path(os.path.normpath(path))
        if not self.path.is_absolute() or self.path == Path(self.path.anchor):
            raise ValueError("not the absolute path of something to remove")

    def _folder(self) -> bool:
        return self.path.is_dir() and not self.path.is_symlink()

    def change(self) -> dict[str, str] | None:
        """Return the difference to what is there, or None. Content isn't shown: it may be a secret. Raises OSError."""
        if not os.path.lexists(self.path):
            return None
        held = [self.path, *sorted(self.path.rglob("*"))] if self._folder() else [self.path]
        return {
            "before_header": str(self.path),
            "after_header": str(self.path),
            "before": "".join(f"{path}\n" for path in held),
            "after": "",
        }

    def write(self) -> None:
        """Remove it. Raises OSError."""
        if self._folder():
            shutil.rmtree(self.path)
        else:
            self.path.unlink()


class Wanted:
    """A folder or a file as it is to be."""

    def __init__(self, given: dict[str, Any], *, folder: bool, check: bool) -> None:
        """Read what the task says of it. Raises KeyError or ValueError for what isn't there or no mode."""
        self.path = Path(given["path"])
        self.folder = folder
        self.content = b"" if folder else str(given["content"]).encode()
        self.validate = given.get("validate") or ""
        if self.validate and "%s" not in self.validate:
            raise ValueError(f"validate must contain %s: {self.validate}")
        self.names = {"owner": str(given.get("owner", "root")), "group": str(given.get("group", "root"))}
        self.uid = _number(self.names["owner"], "owner", check=check)
        self.gid = _number(self.names["group"], "group", check=check)
        self.mode = int(str(given["mode"]), 8)

    def state(self) -> dict[str, str]:
        """Return owner, group and mode as a diff shows them: numbers, and names for those that nobody has yet."""
        owner = self.names["owner"] if self.uid == _UNKNOWN else str(self.uid)
        group = self.names["group"] if self.gid == _UNKNOWN else str(self.gid)
        return {"owner": owner, "group": group, "mode": f"{self.mode:04o}"}

    def fault(self, module: AnsibleModule) -> str:
        """Return what the command of C(validate) says against the content, or nothing. Raises OSError."""
        if not self.validate:
            return ""
        # In the module's own folder, which is the user's alone, and under the name that the file is to have: some
        # programs go by it.
        with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
            copy = Path(folder) / self.path.name
            copy.write_bytes(self.content)
            copy.chmod(0o600)
            code, out, err = module.run_command(self.validate.replace("%s", shlex.quote(str(copy))))
        said = (err.strip() or out.strip()) if code else ""
        return f"failed to validate: {said or f'exit status {code}'}" if code else ""

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

    def change(self, *, gone: bool = False) -> dict[str, str] | None:
        """Return the difference to what is there, or to nothing if that is ``gone`` by then. Raises OSError."""
        found = None if gone else self.found()
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
    module = AnsibleModule(
        argument_spec={
            "absent": {"type": "list", "elements": "str", "default": []},
            "folders": items,
            "files": items,
        },
        supports_check_mode=True,
    )
    check = module.check_mode
    changes: list[tuple[Absent | Wanted, dict[str, str]]] = []
    path = ""
    try:
        # All are looked at and validated before the first is changed.
        for path in module.params["absent"]:
            gone = Absent(path)
            if difference := gone.change():
                changes.append((gone, difference))
        removed = [one.path for one, _ in changes]
        for kind in ("folders", "files"):
            for given in module.params[kind]:
                path = given.get("path", "")
                wanted = Wanted(given, folder=kind == "folders", check=check)
                difference = wanted.change(
                    gone=any(one == wanted.path or one in wanted.path.parents for one in removed)
                )
                if difference:
                    changes.append((wanted, difference))
                    if not check and (fault := wanted.fault(module)):
                        module.fail_json(msg=f"{path}: {fault}")
        for one, _ in changes if not check else []:
            path = str(one.path)
            one.write()
    except (OSError, KeyError, ValueError) as error:
        module.fail_json(msg=f"{path}: {error}")
    shown = {"diff": [difference for _, difference in changes]} if module._diff and changes else {}
    paths = list(dict.fromkeys(str(one.path) for one, _ in changes))
    module.exit_json(changed=bool(changes), paths=paths, **shown)


if __name__ == "__main__":
    main()
