"""What a run says of a WordPress site: the role's own tasks, with the state program in a real PHP."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.repository import ROOT

ROLE = ROOT / "roles/php_fpm_wordpress"
INSTALLED = "7.1.3"

pytestmark = pytest.mark.skipif(not shutil.which("php"), reason="there is no php on this machine")


STATE = ROLE / "files/wordpress_state.php"
PERSON = {"name": "captain", "email": "captain@example.test", "password": "x" * 12}


def said(folder: Path, version: str, pipes: tuple[str, ...] = ()) -> str:
    """Return what a check of a site with WordPress 7.1.3 says, when this version is wanted.

    ``pipes`` are files of the root in whose place the site put pipes that nobody writes to.
    """
    root = folder / "public"
    (root / "wp-includes").mkdir(parents=True)
    (root / "wp-includes/version.php").write_text(f"<?php\n$wp_version = '{INSTALLED}';\n", encoding="utf-8")
    marker = {"version": INSTALLED, "checksum": f"sha256:{'0' * 64}"}
    (root / ".slipway-core.json").write_text(json.dumps(marker), encoding="utf-8")
    for name in pipes:
        (root / name).unlink(missing_ok=True)
        os.mkfifo(root / name)
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.include_role": {"name": "php_fpm_wordpress", "tasks_from": "state"}}],
    }
    given = {
        "ansible_python_interpreter": sys.executable,
        "php_fpm_wordpress_sites": [
            {
                "name": "blog",
                "root": str(root),
                "url": "https://blog.example.test",
                "title": "Blog",
                "admin": PERSON,
            }
        ],
        "php_fpm_wordpress_version": version,
        "php_fpm_wordpress_checksum": marker["checksum"],
        "php_fpm_wordpress_update_password": "on_create",
        "php_fpm_wordpress_language_packs": {},
        "__php_fpm_wordpress_share": str(folder),
        "__php_fpm_wordpress_share_host": str(folder),
        "__php_fpm_wordpress_config": str(folder / "wp-config.php"),
        "__php_fpm_wordpress_archive": "wordpress.tar.gz",
        "__php_fpm_wordpress_workdir": "/",
        "__php_fpm_wordpress_state_argv": ["php", str(STATE), "--check", "--files"],
    }
    (folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    # The role's own go before those of a play.
    (folder / "vars.json").write_text(json.dumps(given), encoding="utf-8")
    program = str(Path(sys.executable).parent / "ansible-playbook")
    done = subprocess.run(
        [program, "-i", "localhost,", "-c", "local", "-e", f"@{folder}/vars.json", folder / "play.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_site_with_the_version_of_the_list_is_as_wanted(tmp_path: Path) -> None:
    assert "as wanted" in said(tmp_path, INSTALLED)


def test_pipes_in_place_of_files_keep_nobody_waiting(tmp_path: Path) -> None:
    text = said(tmp_path, INSTALLED, (".slipway-core.json", ".slipway-lock", "wp-includes/version.php"))
    assert "as wanted" not in text
    assert "blog: " in text


def test_an_older_version_is_not_as_wanted(tmp_path: Path) -> None:
    """It stays, because its tables can't go back, and the run says which is which."""
    text = said(tmp_path, "7.1.2")
    assert "as wanted" not in text
    assert "WordPress 7.1.3 stays: php_fpm_wordpress_version is the older 7.1.2" in text


# What is changed in a wanted state => what the error says.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an e-mail address twice": (
        {"users": [{**PERSON, "name": "mate", "email": "Captain@example.test", "role": "editor"}]},
        "two users have the e-mail address Captain@example.test",
    ),
    "a password that ends in a line break": (
        {"admin": {**PERSON, "password": "x" * 12 + "\n"}},
        "each user needs a password, a text without blanks around it",
    ),
    "permalinks without a slash": ({"permalinks": "%postname%/"}, "permalinks must be empty or a structure"),
    "an unknown time zone": ({"timezone": "Europe/Hamburg"}, "timezone must be an IANA name"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_wordpress_would_refuse_is_refused_before_anything_is_done(what: str, tmp_path: Path) -> None:
    changes, error = REFUSED[what]
    wanted = {
        "root": str(tmp_path),
        "config": str(tmp_path / "wp-config.php"),
        "version": INSTALLED,
        "archive": str(tmp_path / "wordpress.tar.gz"),
        "archive_checksum": f"sha256:{'0' * 64}",
        "url": "https://blog.example.test",
        "title": "Blog",
        "language": "en_US",
        "timezone": "UTC",
        "permalinks": "/%postname%/",
        "admin": PERSON,
        **changes,
    }
    done = subprocess.run(["php", STATE], input=json.dumps(wanted), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert error in json.loads(done.stdout)["error"]
    assert list(tmp_path.iterdir()) == []
