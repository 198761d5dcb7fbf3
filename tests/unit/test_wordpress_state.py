"""What a run says of a WordPress site: the role's own tasks, with the state program in a real PHP."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import ROOT

ROLE = ROOT / "roles/php_fpm_wordpress"
INSTALLED = "7.1.3"


def said(folder: Path, version: str) -> str:
    """Return what a check of a site with WordPress 7.1.3 says, when this version is wanted."""
    if not shutil.which("php"):
        pytest.skip("there is no php on this machine")
    root = folder / "public"
    (root / "wp-includes").mkdir(parents=True)
    (root / "wp-includes/version.php").write_text(f"<?php\n$wp_version = '{INSTALLED}';\n", encoding="utf-8")
    marker = {"version": INSTALLED, "checksum": f"sha256:{'0' * 64}"}
    (root / ".slipway-core.json").write_text(json.dumps(marker), encoding="utf-8")
    person = {"name": "captain", "email": "captain@example.test", "password": "x" * 12}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": sys.executable,
            "site": {
                "name": "blog",
                "root": str(root),
                "url": "https://blog.example.test",
                "title": "Blog",
                "admin": person,
            },
            "php_fpm_wordpress_version": version,
            "php_fpm_wordpress_checksum": marker["checksum"],
            "php_fpm_wordpress_update_password": "on_create",
            "php_fpm_wordpress_language_packs": {},
            "__php_fpm_wordpress_share": str(folder),
            "__php_fpm_wordpress_archive": "wordpress.tar.gz",
            "__php_fpm_wordpress_workdir": "/",
            "__php_fpm_wordpress_state_argv": ["php", str(ROLE / "files/wordpress_state.php"), "--check", "--files"],
        },
        "tasks": [{"ansible.builtin.include_tasks": str(ROLE / "tasks/site.yml")}],
    }
    (folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", folder / "play.yml"],
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


def test_an_older_version_is_not_as_wanted(tmp_path: Path) -> None:
    """It stays, because its tables can't go back, and the run says which is which."""
    text = said(tmp_path, "7.1.2")
    assert "as wanted" not in text
    assert "WordPress 7.1.3 stays: php_fpm_wordpress_version is the older 7.1.2" in text
