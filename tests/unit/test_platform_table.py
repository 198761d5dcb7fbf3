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
MATRIX = """[
  {"platform": "Debian 13", "service_manager": "systemd", "provider": "compose", "hosts": 1, "passed": 198,
   "skipped": 2, "revision": "0a1b2c3", "date": "2026-01-31"},
  {"platform": "Debian 13", "service_manager": "openrc", "provider": "native", "hosts": 1, "passed": 150,
   "skipped": 9, "revision": "1a1b2c3", "date": "2026-02-01"},
  {"platform": "Debian 12", "service_manager": "systemd", "provider": "native", "hosts": 1, "passed": 151,
   "skipped": 9, "revision": "2a1b2c3", "date": "2026-02-02"},
  {"platform": "Debian 13", "service_manager": "systemd", "provider": "native", "hosts": 2, "passed": 152,
   "skipped": 9, "revision": "3a1b2c3", "date": "2026-02-03"}
]"""
TABLE = """\
| Platform | `compose` | `native` |
|---|---|---|
| Debian 13, systemd | proven: 198 tests, 2026-01-31 (`0a1b2c3`) | not proven |
| Debian 13, OpenRC | not proven | proven: 150 tests, 2026-02-01 (`1a1b2c3`) |
| Debian 13, systemd, 2 VMs | refused | proven: 152 tests, 2026-02-03 (`3a1b2c3`) |
| Debian 12, systemd | refused | proven: 151 tests, 2026-02-02 (`2a1b2c3`) |
| Alpine 3.22 | refused | not proven |
| Alpine 3.9 | refused | not proven |"""


@pytest.fixture
def readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "README.md"
    path.write_text(README)
    (tmp_path / "requirements.yml").write_text(REQUIREMENTS)
    (tmp_path / "matrix.json").write_text(MATRIX)
    monkeypatch.setattr(platform_table, "README", path)
    monkeypatch.setattr(platform_table, "REQUIREMENTS", tmp_path / "requirements.yml")
    monkeypatch.setattr(platform_table, "MATRIX", tmp_path / "matrix.json")
    return path


def test_it_writes_what_a_run_accepts_and_what_is_proven(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
