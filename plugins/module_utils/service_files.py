"""Files of services as they are to be, and the list of what a run changed."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Any

_NEW = ".slipway-new"


def read(path: str | Path) -> str:
    """Return the text of a small file, or nothing when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_bytes(path: str | Path) -> bytes:
    """Return the content of a small file, or nothing when there is none."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def marked(path: Path, mark: str) -> bool:
    """Tell whether a file is one of ours, which may be replaced and removed."""
    return path.is_file() and f"# {mark}" in read(path)


def with_block(content: bytes, marker: str, block: str | None) -> bytes:
    """Return a file's content in which the lines between the two markers are ``block``; without them when it is None.

    ``marker`` holds ``{mark}``, which is BEGIN and END. A block that isn't there yet is put at the end. The result is
    what M(ansible.builtin.blockinfile) makes of it.
    """
    begin, end = marker.replace("{mark}", "BEGIN").encode(), marker.replace("{mark}", "END").encode()
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    wanted = [] if block is None else [begin, *block.encode().splitlines(), end]
    if begin in lines and end in lines[lines.index(begin) :]:
        first = lines.index(begin)
        lines[first : lines.index(end, first) + 1] = wanted
    elif wanted:
        lines += wanted
    else:
        return content
    return b"".join(line + b"\n" for line in lines)


class Changes:
    """What was changed, or would be in check mode."""

    def __init__(self, check: bool) -> None:
        """``check``: nothing is changed, only noted."""
        self.check = check
        self.actions: list[str] = []
        self.paths: set[str] = set()
        self.diffs: list[dict[str, str]] = []

    def note(self, action: str) -> bool:
        """Note what happens to a service or a table; return whether it is to be done."""
        self.actions.append(action)
        self.diffs.append({"prepared": f"{action}\n"})
        return not self.check

    def note_file(self, path: Path, verb: str, before: str, after: str) -> bool:
        """Note what happens to a file, with its difference; return whether it is to be done."""
        self.actions.append(f"{path}: {verb}")
        self.paths.add(str(path))
        header = {"before_header": str(path), "after_header": str(path)}
        self.diffs.append({**header, "before": before, "after": after})
        return not self.check

    def remove(self, path: Path) -> None:
        """Remove a file, if there is one. Raises OSError."""
        if os.path.lexists(path) and self.note_file(path, "remove", read(path), ""):
            path.unlink()


def _number(name: object, kind: str) -> int:
    """Return the number of a user or a group. Raises KeyError for a name there isn't."""
    text = str(name)
    if text.isdecimal():
        return int(text)
    return pwd.getpwnam(text).pw_uid if kind == "owner" else grp.getgrnam(text).gr_gid


class Wanted:
    """A folder or a file as it is to be: ``path``, ``mode``, ``content``, and root's unless it says otherwise.

    With ``marker`` the content is a block of a file that others write to as well.
    """

    def __init__(self, given: dict[str, Any], *, folder: bool = False) -> None:
        """Read what is said of it. Raises KeyError or ValueError for what isn't there or no mode."""
        self.path = Path(given["path"])
        self.folder = folder
        self.uid = _number(given.get("owner", "root"), "owner")
        self.gid = _number(given.get("group", "root"), "group")
        self.mode = int(str(given["mode"]), 8)
        content = "" if folder else given["content"]
        self.content: bytes = content if isinstance(content, bytes) else str(content).encode()
        if given.get("marker"):
            self.content = with_block(read_bytes(self.path), given["marker"], str(content))

    def _attributes(self, found: os.stat_result | None) -> dict[str, str]:
        if found is None:
            return {}
        return {"owner": str(found.st_uid), "group": str(found.st_gid), "mode": f"{stat.S_IMODE(found.st_mode):04o}"}

    def _found(self) -> os.stat_result | None:
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

    def bring(self, changes: Changes) -> None:
        """Bring it into its state. Raises OSError."""
        found = self._found()
        there = self._attributes(found)
        wanted = {"owner": str(self.uid), "group": str(self.gid), "mode": f"{self.mode:04o}"}
        before = read_bytes(self.path) if found and not self.folder else b""
        same = found is not None and before == self.content
        if same and there == wanted:
            return
        # Line by line what differs of owner, group and mode, then the text.
        old, new = (
            "".join(f"{key}: {value}\n" for key, value in one.items() if there.get(key) != wanted[key])
            for one in (there, wanted)
        )
        old, new = old + before.decode(errors="replace"), new + self.content.decode(errors="replace")
        if changes.note_file(self.path, "write", old, new):
            self._write(same)

    def _write(self, same: bool) -> None:
        if self.folder:
            self.path.mkdir(parents=True, exist_ok=True)
        elif not same:
            # By a rename, so that nobody reads half of it; a cut run may have left one.
            new = self.path.with_name(f".{self.path.name}{_NEW}")
            new.unlink(missing_ok=True)
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(self.content)
                os.fchown(file.fileno(), self.uid, self.gid)
                os.fchmod(file.fileno(), self.mode)
            new.replace(self.path)
            return
        os.chown(self.path, self.uid, self.gid)
        self.path.chmod(self.mode)
