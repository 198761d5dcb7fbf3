"""Files of services as they are to be, and the list of what a run changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .managed import Wanted as ManagedFile


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


class Wanted(ManagedFile):
    """A folder or a file as it is to be: ``path``, ``mode``, ``content``, and root's unless it says otherwise.

    With ``marker`` the content is a block of a file that others write to as well.
    """

    def __init__(self, given: dict[str, Any], *, folder: bool = False) -> None:
        """Read what is said of it. Raises KeyError or ValueError for what isn't there or no mode."""
        super().__init__(given, folder=folder, check=False)
        content = given.get("content")
        if isinstance(content, bytes):
            self.content = content
        elif given.get("marker"):
            self.content = with_block(read_bytes(self.path), given["marker"], str(content))

    def bring(self, changes: Changes) -> None:
        """Bring it into its state. Raises OSError."""
        found = self.change()
        if found and changes.note_file(self.path, "write", found["before"], found["after"]):
            self.write()
