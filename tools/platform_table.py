"""Write the table of platforms in README.md from what the playbooks accept and what was proven.

    python tools/platform_table.py [--check]

The table stands between the markers ``<!-- platforms -->`` and ``<!-- /platforms -->``; everything
else in README.md is written by hand and left alone. What a run accepts is ``__slipway_platforms`` of
``playbooks/vars/requirements.yml``; what was proven is ``tests/matrix.json``, which the acceptance
suite writes with ``--record`` when all of it passed. ``--check`` changes nothing and fails if the
table is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
MATRIX = ROOT / "tests/matrix.json"
REQUIREMENTS = ROOT / "playbooks/vars/requirements.yml"
BEGIN, END = "<!-- platforms -->", "<!-- /platforms -->"
MANAGERS = {"systemd": "systemd", "openrc": "OpenRC"}


class TableError(Exception):
    """A table that can't be written; the message is one line."""


def accepted(text: str) -> dict[str, list[str]]:
    """Return the platforms of each provider, from the text of the requirements; raises TableError."""
    content: Any = yaml.safe_load(text)
    found = content.get("__slipway_platforms") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise TableError("requirements.yml: __slipway_platforms is no mapping of providers")
    for provider, platforms in found.items():
        if not isinstance(platforms, list) or not all(isinstance(one, str) for one in platforms):
            raise TableError(f"requirements.yml: the platforms of {provider} are no list of names")
    return {str(provider): list(platforms) for provider, platforms in found.items()}


def _order(platform: str) -> tuple[bool, str, list[int]]:
    """Return what sorts platforms: Debian first, then by family, the newest release first."""
    family = platform.partition(" ")[0]
    return family != "Debian", family, [-int(part) for part in re.findall(r"\d+", platform)]


def _proof(one: dict[str, Any]) -> str:
    """Return what was proven, and of which commit: what came after it may behave differently."""
    return f"proven: {one['passed']} tests, {one['date']} (`{one['revision']}`)"


def table(providers: dict[str, list[str]], matrix: list[dict[str, Any]]) -> str:
    """Return the Markdown between the markers: a row for each platform, a column for each provider."""
    proven = {(one["platform"], one["service_manager"], one["provider"], one["hosts"]): one for one in matrix}
    platforms = {platform for names in providers.values() for platform in names}
    # Debian comes with two service managers; what was never run has none.
    kinds = {one: {(key[1], key[3]) for key in proven if key[0] == one} or {("", 1)} for one in platforms}
    rows = [["Platform", *(f"`{provider}`" for provider in providers)]]
    for platform in sorted(platforms, key=_order):
        for manager, hosts in sorted(kinds[platform], key=lambda kind: (kind[1], kind[0] == "openrc")):
            apart = f"{hosts} VMs" if hosts > 1 else ""
            row = [", ".join(filter(None, [platform, MANAGERS.get(manager), apart]))]
            for provider, names in providers.items():
                found = proven.get((platform, manager, provider, hosts))
                # What is on several VMs is native: the stack of containers is on one.
                may_be = platform in names and hosts == 1
                row.append(_proof(found) if found else "not proven" if may_be else "refused")
            rows.append(row)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


def updated(readme: str, requirements: str, matrix: str) -> str:
    """Return the text of README.md with its table as it should be; raises TableError."""
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise TableError(f"README.md needs the markers {BEGIN} and {END}, once each")
    before, after = readme.partition(BEGIN)[0], readme.partition(END)[2]
    return f"{before}{BEGIN}\n{table(accepted(requirements), json.loads(matrix))}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    options = parser.parse_args(arguments)
    old = README.read_text(encoding="utf-8")
    try:
        new = updated(old, REQUIREMENTS.read_text(encoding="utf-8"), MATRIX.read_text(encoding="utf-8"))
    except TableError as error:
        print(error, file=sys.stderr)
        return 1
    if new == old:
        return 0
    if options.check:
        print("README.md: the table of platforms is out of date; run `make docs`", file=sys.stderr)
        return 1
    README.write_text(new, encoding="utf-8")
    print("README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
