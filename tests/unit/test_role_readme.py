"""The tool that writes the variable tables: what a reader of a README gets to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import role_readme

SPEC = """
argument_specs:
  main:
    options:
      any_sites:
        type: list
        elements: dict
        default: []
        description: The sites; see C(name).
        options:
          name: {type: str, required: true, description: Its name.}
          owner:
            type: dict
            description: Who it belongs to.
            options:
              mail: {type: str, description: 'Address, one or | more.'}
      any_version: {type: str, default: '7.1', description: Which release.}
      any_level: {type: str, default: low, choices: [low, high], description: How much.}
      any_memory: {type: int, description: How much memory.}
"""
DEFAULTS = """
any_sites: []
any_version: '7.1'
any_level: low
any_memory: "{{ 2 * 3 }}"
"""
README = """# any

By hand, above.

<!-- variables -->
old
<!-- /variables -->

By hand, below.
"""


@pytest.fixture
def roles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    role = tmp_path / "any"
    for folder in ("meta", "defaults"):
        (role / folder).mkdir(parents=True)
    (role / "meta/argument_specs.yml").write_text(SPEC)
    (role / "defaults/main.yml").write_text(DEFAULTS)
    (role / "README.md").write_text(README)
    monkeypatch.setattr(role_readme, "ROLES", tmp_path)
    return tmp_path


def written(roles: Path) -> str:
    assert role_readme.main([]) == 0
    return (roles / "any/README.md").read_text()


def test_what_is_written_by_hand_stays(roles: Path) -> None:
    text = written(roles)
    assert text.startswith("# any\n\nBy hand, above.\n")
    assert text.endswith("\nBy hand, below.\n")
    assert "old" not in text


def test_nested_options_are_named_by_their_path(roles: Path) -> None:
    text = written(roles)
    assert "| `any_sites[].name` | str | required | Its name. |" in text
    assert "| `any_sites[].owner.mail` | str |  | Address, one or \\| more. |" in text


def test_defaults_are_shown_as_they_would_be_written(roles: Path) -> None:
    text = written(roles)
    assert "| `'7.1'` |" in text
    assert "| `[]` |" in text
    assert "| `{{ 2 * 3 }}` |" in text


def test_choices_and_markup_are_readable(roles: Path) -> None:
    text = written(roles)
    assert "How much. One of `low`, `high`." in text
    assert "The sites; see `name`." in text


def test_check_changes_nothing_and_tells(roles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert role_readme.main(["--check"]) == 1
    assert "any: README.md is out of date" in capsys.readouterr().err
    assert (roles / "any/README.md").read_text() == README
    written(roles)
    assert role_readme.main(["--check"]) == 0


@pytest.mark.parametrize("text", ["# any\n", README + README, README.replace("/variables", "variables")])
def test_a_readme_without_its_markers_is_an_error(roles: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (roles / "any/README.md").write_text(text)
    assert role_readme.main([]) == 1
    assert "markers" in capsys.readouterr().err
    assert (roles / "any/README.md").read_text() == text
