"""The program that runs a site's scheduled tasks, in a real PHP, with a stand-in for WordPress."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.waiting import wait_until
from tests.repository import ROOT

PROGRAM = ROOT / "roles/php_fpm_wordpress/files/wordpress_cron.php"
# Says that it runs, and goes on until it is let go.
TASKS = """<?php
file_put_contents(__DIR__ . '/runs', "run\n", FILE_APPEND);
while (file_exists(__DIR__ . '/hold')) {
    usleep(20000);
}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "public").mkdir()
    (tmp_path / "public/wp-cron.php").write_text(TASKS)
    (tmp_path / "tmp").mkdir(mode=0o700)
    return tmp_path


def start(site: Path) -> subprocess.Popen[str]:
    command = ["php", str(PROGRAM), str(site / "public"), str(site / "tmp")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(running: subprocess.Popen[str]) -> str:
    output, _ = running.communicate(timeout=10)
    assert running.returncode == 0, output
    return output


def runs(site: Path) -> int:
    told = site / "public/runs"
    return len(told.read_text().splitlines()) if told.exists() else 0


def test_two_runs_never_overlap(site: Path) -> None:
    """`docker compose exec` that is ended leaves its program in the container; the next run finds it there."""
    hold = site / "public/hold"
    hold.touch()
    first = start(site)
    wait_until("the first run is under way", lambda: runs(site) == 1, 10, pause=0.02)
    assert finish(start(site)) == ""
    assert runs(site) == 1
    hold.unlink()
    assert finish(first) == ""
    assert finish(start(site)) == ""
    assert runs(site) == 2


def test_a_run_that_was_killed_holds_up_nobody(site: Path) -> None:
    hold = site / "public/hold"
    hold.touch()
    first = start(site)
    wait_until("the first run is under way", lambda: runs(site) == 1, 10, pause=0.02)
    first.kill()
    first.communicate(timeout=10)
    hold.unlink()
    finish(start(site))
    assert runs(site) == 2


def test_old_temporary_files_go_and_others_stay(site: Path) -> None:
    outside = site / "outside"
    outside.mkdir()
    kept = [outside / "old", site / "tmp/new", site / "tmp/deep/new"]
    gone = [site / "tmp/old", site / "tmp/deep/old", site / "tmp/bare/old", site / "tmp/link"]
    for path in [*kept, *gone[:-1]]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    gone[-1].symlink_to(outside)
    before = time.time() - 2 * 86400
    for path in [outside / "old", *gone]:
        os.utime(path, (before, before), follow_symlinks=False)
    finish(start(site))
    assert [path for path in kept if not path.exists()] == []
    assert [path for path in gone if path.exists() or path.is_symlink()] == []
    # The lock stays, or two runs would have two; folders go when they are old themselves.
    for path in (site / "tmp/.cron.lock", site / "tmp/bare", site / "tmp/deep"):
        os.utime(path, (before, before))
    finish(start(site))
    assert (site / "tmp/.cron.lock").exists()
    assert not (site / "tmp/bare").exists()
    assert (site / "tmp/deep").exists()
