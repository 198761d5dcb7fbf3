"""Who reaches a service: a table of the kernel's packet filter for each."""

from __future__ import annotations

import re
from pathlib import Path

from .service_files import Changes
from .service_manager import ServiceError
from .service_processes import one_line, run


def table(name: str) -> str:
    """Return the name of a service's table."""
    return "slipway_" + re.sub(r"[^A-Za-z0-9]", "_", name)


def _call(argv: list[str]) -> None:
    code, out = run(argv)
    if code != 0:
        raise ServiceError(f"{' '.join(argv)} failed ({code}): {one_line(out)}")


def load(name: str, path: Path, changes: Changes) -> None:
    """Load a service's table. Raises ServiceError.

    In each run: a run that was killed before it told the kernel is made good, and what took all rules away as well.
    """
    known = run(["nft", "list", "table", "inet", table(name)])[0] == 0
    if not known or str(path) in changes.paths:
        changes.note(f"{name}: load who reaches it")
    if not changes.check:
        _call(["nft", "--file", str(path)])


def remove(name: str, path: Path, changes: Changes) -> None:
    """Remove a service's table, if it has one. Raises ServiceError or OSError."""
    if not path.is_file():
        return
    if changes.note(f"{name}: let everybody reach it"):
        # The first half, because to delete a table that is gone already would be an error.
        _call(["nft", f"add table inet {table(name)}; delete table inet {table(name)}"])
    # The file is the record of a table, so it goes last: a run that is killed in between begins again.
    changes.remove(path)
