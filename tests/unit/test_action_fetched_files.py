"""Bringing a file to a host, by real runs of ansible-playbook against this machine and a real web server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import served
from tests.repository import ROOT

CONTENT = b"an archive"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - fetched_files: {}
"""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "archive").write_bytes(CONTENT)
    with served.folder(folder, "127.0.0.1") as url:
        yield folder, url


def run(tmp_path: Path, *arguments: str, **given: Any) -> tuple[int, str]:
    """Run the action with these arguments; return the exit code and the output."""
    play = tmp_path / "play.yml"
    values = {"checksum": f"sha256:{SHA256}", "subject": "docs", **given}
    play.write_text(PLAY.replace("{}", json.dumps({"files": [values]})), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "400"}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), str(play), *arguments]
    environment.pop("ANSIBLE_STRATEGY", None)
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_file_comes_by_http_once(web: tuple[Path, str], tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    code, output = run(tmp_path, url=f"{web[1]}/archive", dest=str(dest), mode="0600")
    assert (code, dest.read_bytes(), dest.stat().st_mode & 0o777) == (0, CONTENT, 0o600), output
    (web[0] / "archive").unlink()
    code, output = run(tmp_path, url=f"{web[1]}/archive", dest=str(dest), mode="0600")
    assert code == 0
    assert "changed=0" in output


def test_a_file_comes_from_the_controller(web: tuple[Path, str], tmp_path: Path) -> None:
    dest = tmp_path / "dest"
    code, output = run(tmp_path, url=f"file://{web[0]}/archive", dest=str(dest))
    assert (code, dest.read_bytes()) == (0, CONTENT), output


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_check_mode_shows_what_would_come(web: tuple[Path, str], tmp_path: Path, scheme: str) -> None:
    """Also where not even the folder is there yet."""
    url = f"{web[1] if scheme == 'http' else f'file://{web[0]}'}/archive"
    dest = tmp_path / "none" / "dest"
    code, output = run(tmp_path, "--check", "--diff", url=url, dest=str(dest))
    assert code == 0, output
    assert "changed=1" in output
    assert "fetch docs" in output
    assert not dest.parent.exists()


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_check_mode_reports_nothing_once_it_is_there(web: tuple[Path, str], tmp_path: Path, scheme: str) -> None:
    url = f"{web[1] if scheme == 'http' else f'file://{web[0]}'}/archive"
    dest = tmp_path / "dest"
    assert run(tmp_path, url=url, dest=str(dest))[0] == 0
    code, output = run(tmp_path, "--check", url=url, dest=str(dest))
    assert (code, "changed=0" in output) == (0, True), output


@pytest.mark.parametrize("check", [[], ["--check"]], ids=["run", "check"])
def test_what_is_missing_is_said_in_one_line(web: tuple[Path, str], tmp_path: Path, check: list[str]) -> None:
    code, output = run(tmp_path, *check, url=f"{web[1]}/missing", dest=str(tmp_path / "dest"))
    assert code != 0
    assert f"docs: {web[1]}/missing could not be fetched: " in output
    assert "404" in output


def test_a_server_that_is_not_there_is_said_with_the_subject(tmp_path: Path) -> None:
    code, output = run(tmp_path, url="http://mirror.invalid/a", dest=str(tmp_path / "dest"))
    assert code != 0
    assert "docs: http://mirror.invalid/a could not be fetched: " in output


def test_another_checksum_names_the_subject_and_both(web: tuple[Path, str], tmp_path: Path) -> None:
    wanted = "1" * 64
    code, output = run(tmp_path, url=f"{web[1]}/archive", checksum=f"sha256:{wanted}", dest=str(tmp_path / "dest"))
    assert code != 0
    assert f"docs: {web[1]}/archive could not be fetched: it has the checksum {SHA256}, not {wanted}" in output
    assert not (tmp_path / "dest").exists()


@pytest.mark.parametrize(
    ("name", "checksum", "fault"),
    [
        ("archive", "1" * 64, f"it has the checksum {SHA256}, not {'1' * 64}"),
        ("missing", SHA256, "there is no such file on the controller"),
    ],
)
def test_a_file_of_the_controller_is_compared_without_a_host(
    web: tuple[Path, str], tmp_path: Path, name: str, checksum: str, fault: str
) -> None:
    code, output = run(tmp_path, url=f"file://{web[0]}/{name}", checksum=f"sha256:{checksum}")
    assert code != 0
    assert f"docs: file://{web[0]}/{name}: {fault}" in output


def test_a_password_in_the_url_is_not_shown(tmp_path: Path) -> None:
    code, output = run(tmp_path, "-vv", url="http://me:pass-word@mirror.invalid/a", dest=str(tmp_path / "dest"))
    assert code != 0
    assert "http://mirror.invalid/a" in output
    shown = [line for line in output.splitlines() if "pass-word" in line and "play.yml" not in line]
    assert [line for line in shown if "fetched_files:" not in line] == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "/srv/archive"}, "'/srv/archive' is not allowed; give an http://"),
        ({"url": "archive"}, "'archive' is not allowed"),
        ({"url": "file://host/archive"}, "'file://host/archive' is not allowed"),
        ({"url": "http://mirror.invalid/a", "checksum": "md5:1234"}, "the checksum 'md5:1234' is not allowed"),
    ],
)
def test_what_is_no_url_or_checksum_is_refused(tmp_path: Path, given: dict[str, str], said: str) -> None:
    code, output = run(tmp_path, **given)
    assert code != 0
    assert f"docs: {said}" in output
