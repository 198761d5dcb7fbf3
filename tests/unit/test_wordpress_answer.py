"""What a run says of a WordPress site, by what its program answers: real runs of the tasks on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.repository import ROOT

STATE = ROOT / "roles" / "php_fpm_wordpress" / "files" / "wordpress_state.php"
PASSWORD = "a-password-of-the-tests"
CHANGES = json.dumps({"changed": True, "changes": ["siteurl 'a' -> 'b'"], "notes": ["WordPress 7.1.3 is newer"]})
NOTHING = json.dumps({"changed": False, "changes": [], "notes": []})
ERROR = json.dumps({"error": "the wanted state has an unknown key: x"})


def run(
    tmp_path: Path,
    *arguments: str,
    program: str,
    folder: str = "/",
    programs_change: bool = False,
    title: str = "Blog",
    sites: tuple[str, ...] = ("blog",),
) -> tuple[int, str]:
    """Run the tasks with this shell program in place of the site's; return the exit code and the output."""
    wanted = hashlib.sha256(STATE.read_bytes()).hexdigest() if not programs_change else ""
    share = tmp_path / "share"
    share.mkdir(exist_ok=True)
    (share / "wordpress_state.php").write_text("another" if programs_change else STATE.read_text())
    assert (hashlib.sha256((share / "wordpress_state.php").read_bytes()).hexdigest() == wanted) != programs_change
    variables: dict[str, Any] = {
        "ansible_python_interpreter": sys.executable,
        "php_fpm_wordpress_sites": [
            {
                "name": name,
                "uid": 20001,
                "root": "/none/public",
                "url": f"https://{name}.example.test",
                "title": title,
                "admin": {"name": "captain", "email": "captain@example.test", "password": PASSWORD},
                "database": {"password": PASSWORD},
                "salts": {"AUTH_KEY": PASSWORD},
            }
            for name in sites
        ],
        "php_fpm_wordpress_version": "7.1",
        "php_fpm_wordpress_checksum": "sha256:00",
        "php_fpm_wordpress_update_password": "on_create",
        "php_fpm_wordpress_language_packs": {},
        "__php_fpm_wordpress_share": "/none",
        "__php_fpm_wordpress_share_host": str(share),
        "__php_fpm_wordpress_archive": "none",
        "__php_fpm_wordpress_workdir": folder,
        "__php_fpm_wordpress_config": f"{tmp_path}/wp-config.php",
        "__php_fpm_wordpress_state_argv": ["sh", "-c", program, "sh", "{name}"],
    }
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.include_role": {"name": "php_fpm_wordpress", "tasks_from": "state"}}],
        }
    ]
    # The role's own go before those of a play.
    (tmp_path / "vars.json").write_text(json.dumps(variables), encoding="utf-8")
    (tmp_path / "play.yml").write_text(json.dumps(play), encoding="utf-8")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "400"}
    environment.pop("ANSIBLE_STRATEGY", None)
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        str(tmp_path / "play.yml"),
        "-e",
        f"@{tmp_path}/vars.json",
    ]
    command += arguments
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    # The output breaks long lines, and doubles quotes where it has to quote.
    return done.returncode, " ".join((done.stdout + done.stderr).split()).replace("''", "'")


@pytest.mark.parametrize("check", [[], ["--check"]], ids=["run", "check"])
def test_changes_and_what_stays_are_said(tmp_path: Path, check: list[str]) -> None:
    code, output = run(tmp_path, *check, program=f"cat >/dev/null; cat <<'END'\n{CHANGES}\nEND")
    assert code == 0, output
    assert "siteurl 'a' -> 'b'; WordPress 7.1.3 is newer" in output
    assert "changed=1" in output


@pytest.mark.parametrize("check", [[], ["--check"]], ids=["run", "check"])
def test_no_change_is_none(tmp_path: Path, check: list[str]) -> None:
    code, output = run(tmp_path, *check, program=f"cat >/dev/null; echo '{NOTHING}'")
    assert (code, "changed=0" in output, "as wanted" in output) == (0, True, True), output


def test_a_program_that_ended_before_it_read_is_called_again(tmp_path: Path) -> None:
    """Whether its end comes before what is written to it is a matter of luck, unless that is more than a pipe holds."""
    mark = tmp_path / "mark"
    program = f"[ -e {mark} ] && {{ cat >/dev/null; echo '{NOTHING}'; exit; }}; touch {mark}; exit 1"
    code, output = run(tmp_path, program=program, title="x" * 200_000)
    assert (code, "as wanted" in output) == (0, True), output[-2000:]


def test_check_mode_says_that_a_site_would_be_installed(tmp_path: Path) -> None:
    """Nothing of it is there, not even the folder that it is called from."""
    code, output = run(tmp_path, "--check", program="exit 1", folder="/none/at/all")
    assert code == 0, output
    assert "blog: WordPress 7.1 would be installed" in output
    assert "changed=1" in output


def test_check_mode_says_why_it_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "wp-config.php").touch()
    code, output = run(tmp_path, "--check", program="echo 'service \"php-blog-1\" is not running' >&2; exit 1")
    assert code == 0, output
    assert "blog: what would change in WordPress can't be shown: service" in output
    assert "changed=1" in output


def test_check_mode_believes_no_older_program(tmp_path: Path) -> None:
    """It may refuse what a newer one is told."""
    (tmp_path / "wp-config.php").touch()
    refuses = f"cat >/dev/null; echo '{ERROR}'; exit 1"
    code, output = run(tmp_path, "--check", program=refuses, programs_change=True)
    assert code == 0, output
    assert "can't be shown: the wanted state has an unknown key" in output
    code, output = run(tmp_path, "--check", program=refuses)
    assert code != 0


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (f"cat >/dev/null; echo '{ERROR}'; exit 1", "blog: the wanted state has an unknown key: x"),
        ("echo first >&2; echo last >&2; exit 1", "blog: last"),
        ("exit 1", "blog: "),
        ("cat >/dev/null; kill -9 $$", "blog: it was killed"),
    ],
    ids=["an answer", "no answer", "nothing", "killed"],
)
def test_a_run_fails_and_says_why(tmp_path: Path, program: str, why: str) -> None:
    code, output = run(tmp_path, program=program)
    assert code != 0
    assert why in output


def test_all_sites_are_told_and_asked_at_once(tmp_path: Path) -> None:
    """Each its own state; one that fails keeps none of the others from theirs."""
    program = f"grep -q https://$1[.] || exit 3; touch {tmp_path}/$1; [ $1 != blog ] || {{ echo broken >&2; exit 1; }};"
    program += f" until [ -e {tmp_path}/blog ] && [ -e {tmp_path}/docs ]; do :; done; cat <<'END'\n{CHANGES}\nEND"
    code, output = run(tmp_path, program=program, sites=("blog", "docs", "young"))
    assert code != 0
    assert "blog: broken" in output
    for name in ("docs", "young"):
        assert f"{name}: siteurl 'a' -> 'b'; WordPress 7.1.3 is newer" in output
    assert "no answer" not in output


def test_a_container_that_rarely_starts_no_program_is_asked_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program = f"cat >/dev/null; [ -e {mark} ] && {{ echo '{NOTHING}'; exit; }}; touch {mark}; echo 'runc' >&2; exit 126"
    code, output = run(tmp_path, program=program)
    assert (code, "blog: as wanted" in output) == (0, True), output


@pytest.mark.parametrize("program", [f"cat >/dev/null; echo '{NOTHING}'", "cat >&2; exit 1", "cat; exit 1"])
def test_no_password_is_shown(tmp_path: Path, program: str) -> None:
    """Not even where the program says what it was told."""
    _, output = run(tmp_path, "-vvv", "--diff", program=program)
    assert "blog: " in output
    assert PASSWORD not in output
