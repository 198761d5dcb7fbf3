"""What host_baseline finds to do, by its own script in a shell, on files as a host has them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.repository import ROOT, load

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the files have to be root's")

VARIABLES = load(ROOT / "roles/host_baseline/vars/main.yml")
SCRIPT: str = VARIABLES["__host_baseline_look_at_settings"]
NAME = os.uname().nodename
ZONE, LOCALE, LINE = "Europe/Berlin", "C.UTF-8", f"127.0.1.1 {NAME}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with the files of a host that is as it should be."""
    for folder in ("etc/default", "usr/share/zoneinfo/Europe"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/share/zoneinfo" / ZONE).touch()
    (tmp_path / "etc/localtime").symlink_to(tmp_path / "usr/share/zoneinfo" / ZONE)
    for path, text in (
        ("timezone", f"{ZONE}\n"),
        ("default/locale", f"# By the system.\nLANG={LOCALE}\n"),
        ("hostname", f"{NAME}\n"),
        ("hosts", f"127.0.0.1 localhost\n{LINE}\n"),
    ):
        (tmp_path / "etc" / path).write_text(text)
        (tmp_path / "etc" / path).chmod(0o644)
    return tmp_path


def look(root: Path, zone: str = ZONE, locale: str = LOCALE, file: str = "default/locale", name: str = NAME) -> str:
    """Return what the script prints of the files below this folder."""
    script = SCRIPT.replace("/etc/", f"{root}/etc/").replace("/usr/share/zoneinfo", f"{root}/usr/share/zoneinfo")
    locale_file = f"{root}/etc/{file}" if file else ""
    done = subprocess.run(
        ["sh", "-c", script, "sh", zone, locale, locale_file, name, LINE if name else ""],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_host_that_is_right_has_nothing_to_do(root: Path) -> None:
    assert look(root) == ""
    (root / "etc/timezone").unlink()
    assert look(root) == ""


def test_what_is_to_stay_as_it_is_is_not_looked_at(root: Path) -> None:
    for name in ("localtime", "timezone", "default/locale", "hostname", "hosts"):
        (root / "etc" / name).unlink()
    assert look(root, zone="", locale="", name="") == ""
    # A system without locales.
    assert look(root, zone="", file="", name="") == ""
    assert look(root).split() == ["timezone", "locale", "hostname"]


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda etc: (etc / "timezone").write_text("Etc/UTC\n"), "timezone"),
        (lambda etc: (etc / "timezone").chmod(0o600), "timezone"),
        (lambda etc: (etc / "localtime").unlink(), "timezone"),
        # The zones went away below it.
        (lambda etc: (etc.parent / "usr/share/zoneinfo" / ZONE).unlink(), "timezone"),
        (lambda etc: (etc / "default/locale").write_text("LANG=C\n"), "locale"),
        (lambda etc: (etc / "default/locale").write_text("LANG=C\nLANG=C.UTF-8\n"), "locale"),
        (lambda etc: (etc / "default/locale").chmod(0o666), "locale"),
        (lambda etc: (etc / "hostname").write_text("another\n"), "hostname"),
        (lambda etc: (etc / "hosts").write_text(f"127.0.1.1 another {NAME}\n"), "hostname"),
    ],
)
def test_what_differs_is_found_and_nothing_else(root: Path, spoil: Callable[[Path], object], found: str) -> None:
    spoil(root / "etc")
    assert look(root) == found


def test_the_kernel_s_name_and_a_locale_that_is_not_made_are_found(root: Path) -> None:
    assert look(root, name="another") == "hostname"
    (root / "etc/default/locale").write_text("LANG=tlh_KL.UTF-8\n")
    assert look(root, locale="tlh_KL.UTF-8") == "locale"


def probe(root: Path, apt: str = "true") -> str:
    """Return what is said of the package manager of a host with these files."""
    (root / "bin").mkdir(exist_ok=True)
    program = root / "bin/apt-get"
    program.write_text(f"#!/bin/sh\n{apt}\n")
    program.chmod(0o755)
    script = VARIABLES["__host_baseline_probe"].replace("/run/cloud-init", f"{root}/run/cloud-init")
    environment = {**os.environ, "PATH": f"{root}/bin:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=environment).stdout


def test_a_first_boot_is_waited_for(root: Path) -> None:
    """cloud-init installs packages as well; its result is there when it is done, well or not."""
    busy = re.compile(VARIABLES["__host_baseline_busy"])
    assert not busy.search(probe(root))
    (root / "run/cloud-init").mkdir(parents=True)
    assert not busy.search(probe(root))
    (root / "run/cloud-init/status.json").write_text("{}")
    assert busy.search(probe(root))
    (root / "run/cloud-init/result.json").write_text("{}")
    assert not busy.search(probe(root))
    assert busy.search(probe(root, "echo 'E: Could not get lock /var/lib/dpkg/lock-frontend.' >&2; exit 100"))
