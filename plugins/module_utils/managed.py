"""Folders and files as they are to be, for modules that write several of them."""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

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


Difference = tuple[Absent | Wanted, dict[str, str]]


def differing(
    module: AnsibleModule,
    folders: Sequence[dict[str, Any]],
    files: Sequence[dict[str, Any]],
    absent: Sequence[str] = (),
) -> list[Difference]:
    """Return what differs from how it is to be, each with its diff: what is to be absent, folders, then files.

    They are described as the module managed_files takes them. What is to be written is validated, but not in check
    mode. Raises OSError with the path in its message.
    """
    check = module.check_mode
    changes: list[Difference] = []
    path = ""
    try:
        for path in absent:
            gone = Absent(path)
            if difference := gone.change():
                changes.append((gone, difference))
        removed = [one.path for one, _ in changes]
        for given, folder in [*((one, True) for one in folders), *((one, False) for one in files)]:
            path = given.get("path", "")
            wanted = Wanted(given, folder=folder, check=check)
            difference = wanted.change(gone=any(one == wanted.path or one in wanted.path.parents for one in removed))
            if difference:
                changes.append((wanted, difference))
                if not check and (fault := wanted.fault(module)):
                    raise ValueError(fault)
    except (OSError, KeyError, ValueError) as error:
        raise OSError(f"{path}: {error}") from error
    return changes


def write(changes: Sequence[Difference]) -> None:
    """Bring what differs into its state. Raises OSError with the path in its message."""
    for one, _ in changes:
        try:
            one.write()
        except OSError as error:
            raise OSError(f"{one.path}: {error}") from error


def brought(
    module: AnsibleModule,
    folders: Sequence[dict[str, Any]],
    files: Sequence[dict[str, Any]],
    absent: Sequence[str] = (),
) -> list[dict[str, str]]:
    """Remove what is to be absent, bring folders, then files into their state; return what differed, as a diff.

    All are looked at and validated before the first is changed; in check mode they are only looked at. Raises OSError
    with the path in its message.
    """
    changes = differing(module, folders, files, absent)
    if not module.check_mode:
        write(changes)
    return [difference for _, difference in changes]
