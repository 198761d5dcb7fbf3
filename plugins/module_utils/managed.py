"""Folders and files as they are to be, for modules that write several of them."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any

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


def brought(folders: list[dict[str, Any]], files: list[dict[str, Any]], *, check: bool) -> list[dict[str, str]]:
    """Bring folders, then files into their state, and return what differed; with ``check`` only look.

    They are described as the module managed_files takes them. Raises OSError with the path in its message.
    """
    diffs = []
    for given, folder in [*((one, True) for one in folders), *((one, False) for one in files)]:
        try:
            wanted = Wanted(given, folder=folder)
            if difference := wanted.change():
                diffs.append(difference)
                if not check:
                    wanted.write()
        except (OSError, KeyError, ValueError) as error:
            raise OSError(f"{given.get('path', '')}: {error}") from error
    return diffs
