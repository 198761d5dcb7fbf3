"""Write the variable table of each role's README from its argument specification.

    python tools/role_readme.py [--check] [ROLE ...]

The table stands between the markers ``<!-- variables -->`` and ``<!-- /variables -->``; everything
else in a README is written by hand and left alone. Defaults come from the specification or, where
that gives none, from ``defaults/main.yml`` (lazy defaults). ``--check`` changes nothing and fails
if a table is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
BEGIN, END = "<!-- variables -->", "<!-- /variables -->"
# A longer default is no help in a table; the file that holds it is linked instead.
LONGEST_DEFAULT = 70


class ReadmeError(Exception):
    """A role that no table can be written for; the message is one line."""


@dataclass(frozen=True)
class Row:
    """One variable or option, as the table shows it."""

    name: str
    type: str
    default: str
    description: str


def load(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; empty where there is no such file."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return content if isinstance(content, dict) else {}


def entry_points(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of each entry point that a role specifies, C(main) first."""
    specs = load(role / "meta/argument_specs.yml").get("argument_specs") or {}
    ordered = sorted(specs, key=lambda name: (name != "main", name))
    return {name: specs[name].get("options") or {} for name in ordered}


def _text(description: str | list[str]) -> str:
    """Turn Ansible's markup into Markdown, and several paragraphs into one."""
    joined = " ".join(description) if isinstance(description, list) else description
    code = re.sub(r"\b[CVOEP]\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", " ".join(joined.split()))
    return re.sub(r"\b[BI]\(([^()]*)\)", r"**\1**", code)


def _default(option: dict[str, Any], fallback: Any) -> str:
    """Return what the column says: C(required), the default as YAML would have it, or nothing."""
    if option.get("required"):
        return "required"
    value = option.get("default", fallback)
    if value is None:
        return ""
    if isinstance(value, str):
        # Quoted where YAML would read something else: '7.1', 'no' and the empty string.
        plain = yaml.safe_load(value) == value if "{{" not in value else True
        shown = value if plain else f"'{value}'"
    else:
        # Flow style, which is JSON's, because JSON has one line only.
        shown = json.dumps(value, ensure_ascii=False)
    if len(shown) > LONGEST_DEFAULT or "\n" in shown:
        return "see [defaults](defaults/main.yml)"
    return f"`{shown}`"


def _type(option: dict[str, Any]) -> str:
    """Return the type, with that of the elements."""
    kind = str(option.get("type", "str"))
    return f"{kind} of {option['elements']}" if "elements" in option else kind


def rows(options: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[Row]:
    """Yield the table's rows, nested options right after the option that holds them."""
    for name, option in options.items():
        description = _text(option.get("description", ""))
        if "choices" in option:
            choices = ", ".join(f"`{_word(choice)}`" for choice in option["choices"])
            description = f"{description} One of {choices}."
        default = _default(option, defaults.get(name))
        yield Row(f"{prefix}{name}", _type(option), default, description)
        inner = f"{prefix}{name}{'[]' if option.get('type') == 'list' else ''}."
        yield from rows(option.get("options") or {}, {}, inner)


def _word(value: Any) -> str:
    """Return a value as YAML spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def table(role: Path) -> str:
    """Return the Markdown between the markers, for all entry points of a role."""
    defaults = load(role / "defaults/main.yml")
    parts = []
    for name, options in entry_points(role).items():
        lines = ["| Variable | Type | Default | Description |", "|---|---|---|---|"]
        for row in rows(options, defaults):
            cells = [f"`{row.name}`", row.type, row.default, row.description]
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        if not options:
            lines = ["No variables."]
        heading = [] if name == "main" else [f"With `tasks_from: {name}`:", ""]
        parts.append("\n".join([*heading, *lines]))
    return "\n\n".join(parts)


def updated(role: Path) -> str:
    """Return a role's README with its table as it should be; raises ReadmeError."""
    readme = role / "README.md"
    if not readme.exists():
        raise ReadmeError(f"{role.name}: there is no README.md")
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ReadmeError(f"{role.name}: README.md needs the markers {BEGIN} and {END}, once each")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n{table(role)}\n{END}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the tables; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail if out of date")
    parser.add_argument("roles", nargs="*", metavar="ROLE", help="all roles by default")
    options = parser.parse_args(arguments)
    roles = [ROLES / name for name in options.roles] or sorted(path for path in ROLES.iterdir() if path.is_dir())
    status = 0
    for role in roles:
        try:
            text = updated(role)
        except ReadmeError as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        readme = role / "README.md"
        if text == readme.read_text(encoding="utf-8"):
            continue
        if options.check:
            print(f"{role.name}: README.md is out of date; run `make docs`", file=sys.stderr)
            status = 1
        else:
            readme.write_text(text, encoding="utf-8")
            print(f"{role.name}: README.md")
    return status


if __name__ == "__main__":
    sys.exit(main())
