"""The tool that makes a release of the changelog: nothing is lost, and a wrong fragment is named."""

from __future__ import annotations

import pytest

from tests.repository import ROOT
from tools import changelog

BEFORE = """# Changelog

By hand, above.

## Unreleased

### Added

- What stood there.

## 0.1.0 (2026-01-01)

### Added

- The first.
"""
FRAGMENTS = {
    "b.yml": "bugfixes: [The site is served again.]\nmajor_changes: [A second feature.]\n",
    "a.yml": "breaking_changes: ['`slipway_x` is gone: use `slipway_y`.']\ntrivial: [Tests only.]\n",
}
AFTER = """# Changelog

By hand, above.

## Unreleased

## 0.2.0 (2026-02-02)

### Breaking changes

- `slipway_x` is gone: use `slipway_y`.

### Added

- What stood there.
- A second feature.

### Fixed

- The site is served again.

## 0.1.0 (2026-01-01)

### Added

- The first.
"""


def test_a_release_has_what_was_unreleased_and_all_fragments() -> None:
    text = changelog.released(BEFORE, FRAGMENTS, "0.2.0", "2026-02-02")
    assert text == AFTER
    assert changelog.notes(text, "0.2.0").startswith("### Breaking changes\n")
    assert changelog.notes(text, "0.2.0").endswith("- The site is served again.\n")
    assert changelog.notes(text, "0.1.0") == "### Added\n\n- The first.\n"


def test_long_entries_are_wrapped() -> None:
    text = changelog.released(BEFORE, {"a.yml": f"bugfixes: ['{'word ' * 40}']"}, "0.2.0", "2026-02-02")
    assert max(map(len, text.splitlines())) <= 120
    assert "\n  word" in text


def test_the_changelog_of_this_repository_can_be_released() -> None:
    text = changelog.released(changelog.CHANGELOG.read_text(encoding="utf-8"), {}, "99.0.0", "2026-02-02")
    assert "## 99.0.0 (2026-02-02)\n\n### " in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a list", "must have sections"),
        ("", "must have sections"),
        ("features: [A feature.]", "unknown section 'features'"),
        ("bugfixes: A text.", "bugfixes must be a list of texts"),
        ("bugfixes: [{a: mapping}]", "bugfixes must be a list of texts"),
        ("bugfixes: [unclosed", "not valid YAML"),
    ],
)
def test_a_wrong_fragment_is_rejected(text: str, says: str) -> None:
    with pytest.raises(changelog.ChangelogError, match=says):
        changelog.read_fragment("one.yml", text)


@pytest.mark.parametrize(
    ("text", "version", "says"),
    [
        (BEFORE, "0.1.0", "has a release 0.1.0 already"),
        ("# Changelog\n", "0.2.0", "needs the heading"),
        ("## Unreleased\n", "0.2.0", "nothing to release"),
        (BEFORE.replace("### Added", "### New", 1), "0.2.0", "unknown heading 'New'"),
    ],
)
def test_what_can_t_be_released_is_said(text: str, version: str, says: str) -> None:
    with pytest.raises(changelog.ChangelogError, match=says):
        changelog.released(text, {}, version, "2026-02-02")


def test_the_fragments_are_valid() -> None:
    """Each file there is a fragment, of antsibull-changelog's sections, with sentences for readers."""
    for path in (ROOT / "changelogs/fragments").glob("*"):
        assert path.suffix == ".yml", f"{path.name}: a fragment's name ends in .yml"
        for section, entries in changelog.read_fragment(path.name, path.read_text(encoding="utf-8")).items():
            assert all(entry.endswith(".") for entry in entries), f"{path.name}: {section}"
