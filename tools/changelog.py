"""Put the changelog fragments into CHANGELOG.md, as a release.

    python -m tools.changelog VERSION [--date YYYY-MM-DD]

A fragment is a file ``changelogs/fragments/NAME.yml`` with lists of entries below sections, in the format of
antsibull-changelog. The release gets what stands below "Unreleased" and the entries of all fragments, which are then
removed; "Unreleased" stays, empty.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG = ROOT / "CHANGELOG.md"
FRAGMENTS = ROOT / "changelogs" / "fragments"
WIDTH = 120
# Sections of antsibull-changelog and their headings here, in the order in which they are printed. What is trivial is
# for reviewers, and doesn't get into the changelog.
SECTIONS = {
    "breaking_changes": "Breaking changes",
    "security_fixes": "Security",
    "major_changes": "Added",
    "minor_changes": "Changed",
    "deprecated_features": "Deprecated",
    "removed_features": "Removed",
    "bugfixes": "Fixed",
    "known_issues": "Known issues",
    "trivial": "",
}
UNRELEASED = "## Unreleased\n"


class ChangelogError(Exception):
    """A changelog or a fragment that can't be used; the message is one line."""


def read_fragment(name: str, text: str) -> dict[str, list[str]]:
    """Return the entries of a fragment by section; raises ChangelogError."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ChangelogError(f"{name} is not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict) or not content:
        raise ChangelogError(f"{name} must have sections: {', '.join(SECTIONS)}")
    for section, entries in content.items():
        if section not in SECTIONS:
            raise ChangelogError(f"{name}: unknown section {section!r}; use one of {', '.join(SECTIONS)}")
        if not isinstance(entries, list) or not entries or not all(isinstance(one, str) and one for one in entries):
            raise ChangelogError(f"{name}: {section} must be a list of texts")
    return content


def _headings(text: str) -> dict[str, str]:
    """Return the text below each heading of a release."""
    parts = re.split(r"^### (.+)\n", text, flags=re.MULTILINE)
    if parts[0].strip():
        raise ChangelogError(f"text below no heading: {parts[0].strip().splitlines()[0]}")
    return {heading: body.strip() for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def _entry(text: str) -> str:
    return textwrap.fill(f"- {text}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def released(changelog: str, fragments: Mapping[str, str], version: str, date: str) -> str:
    """Return the changelog with a new release; raises ChangelogError."""
    if changelog.count(UNRELEASED) != 1:
        raise ChangelogError("CHANGELOG.md needs the heading '## Unreleased', once")
    if re.search(rf"^## {re.escape(version)}\b", changelog, re.MULTILINE):
        raise ChangelogError(f"CHANGELOG.md has a release {version} already")
    before, _, rest = changelog.partition(UNRELEASED)
    text, heading, older = rest.partition("\n## ")
    found = _headings(text)
    for name in sorted(fragments):
        for section, entries in read_fragment(name, fragments[name]).items():
            if title := SECTIONS[section]:
                found[title] = "\n".join([*filter(None, [found.get(title)]), *map(_entry, entries)])
    if not found:
        raise ChangelogError("nothing to release: no fragment, and nothing below '## Unreleased'")
    unknown = found.keys() - set(SECTIONS.values())
    if unknown:
        raise ChangelogError(f"CHANGELOG.md: unknown heading {sorted(unknown)[0]!r}")
    body = "\n\n".join(f"### {title}\n\n{found[title]}" for title in SECTIONS.values() if title in found)
    return f"{before}{UNRELEASED}\n## {version} ({date})\n\n{body}\n{heading}{older}"


def notes(changelog: str, version: str) -> str:
    """Return what the changelog says of a release; raises ChangelogError."""
    found = re.search(rf"^## {re.escape(version)} .*\n+((?:(?!## ).*\n?)*)", changelog, re.MULTILINE)
    if not found:
        raise ChangelogError(f"CHANGELOG.md has no release {version}; make it by `make changelog VERSION={version}`")
    return found.group(1).strip() + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Make a release of the changelog, or print one; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.changelog", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", help="as in galaxy.yml")
    parser.add_argument("--date", default=f"{datetime.now(UTC):%Y-%m-%d}", help="of the release (default: today)")
    parser.add_argument("--notes", action="store_true", help="change nothing; print what CHANGELOG.md says of it")
    given = parser.parse_args(arguments)
    paths = sorted(FRAGMENTS.glob("*.yml"))
    try:
        changelog = CHANGELOG.read_text(encoding="utf-8")
        if given.notes:
            print(notes(changelog, given.version), end="")
            return 0
        fragments = {path.name: path.read_text(encoding="utf-8") for path in paths}
        text = released(changelog, fragments, given.version, given.date)
    except ChangelogError as error:
        print(error, file=sys.stderr)
        return 1
    CHANGELOG.write_text(text, encoding="utf-8")
    for path in paths:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
