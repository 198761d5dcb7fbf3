"""The tool that writes the table of platforms: what a reader of the README gets to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import platform_table

REQUIREMENTS = """
__slipway_platforms:
  compose: [Debian 13]
  native: [Alpine 3.9, Alpine 3.22, Debian 12, Debian 13]
"""
README = """# any

By hand, above.

<!-- platforms -->
old
<!-- /platforms -->

By hand, below.
"""
TABLE = """\
| Platform | `compose` | `native` |
|---|---|---|
| Debian 13 | yes | yes |
| Debian 12 | no | yes |
| Alpine 3.22 | no | yes |
| Alpine 3.9 | no | yes |"""


@pytest.fixture
def readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "README.md"
    path.write_text(README)
    (tmp_path / "requirements.yml").write_text(REQUIREMENTS)
    monkeypatch.setattr(platform_table, "README", path)
    monkeypatch.setattr(platform_table, "REQUIREMENTS", tmp_path / "requirements.yml")
    return path


def test_it_writes_what_a_run_accepts_and_leaves_the_rest(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert platform_table.main([]) == 0
    assert readme.read_text() == README.replace("old", TABLE)
    assert "README.md" in capsys.readouterr().out


def test_a_second_time_changes_nothing(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    platform_table.main([])
    capsys.readouterr()
    before = readme.read_text()
    assert platform_table.main([]) == 0
    assert (readme.read_text(), capsys.readouterr().out) == (before, "")


def test_check_tells_and_changes_nothing(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert platform_table.main(["--check"]) == 1
    assert readme.read_text() == README
    assert "make docs" in capsys.readouterr().err
    platform_table.main([])
    assert platform_table.main(["--check"]) == 0


@pytest.mark.parametrize(
    "text", ["no markers", "<!-- /platforms --> <!-- platforms -->", README + "<!-- platforms -->"]
)
def test_markers_that_are_not_there_once_are_refused(
    readme: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    readme.write_text(text)
    assert platform_table.main([]) == 1
    assert readme.read_text() == text
    assert "markers" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[]", "other: 1", "__slipway_platforms: {compose: Debian 13}"])
def test_requirements_of_another_shape_are_refused(readme: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (readme.parent / "requirements.yml").write_text(text)
    assert platform_table.main([]) == 1
    assert "requirements.yml" in capsys.readouterr().err
