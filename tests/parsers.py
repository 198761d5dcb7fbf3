"""The programs that read our configuration files, and how a test hands them a rendered file.

A platform's own programs are wanted: they lie in ``.slipway/parsers/RELEASE`` once ``tools/parsers.py`` made that
folder, or are this machine's if it is of the same release. Alpine's are stood in for by those of Debian 13, which are
the nearest that can be had everywhere.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.repository import ROOT
from tools.parsers import LeftOutError, source

PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")


def _machine_release() -> str:
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


@dataclass(frozen=True)
class Parsers:
    """The programs of one release, below a folder of their own or this machine's."""

    root: Path
    release: str

    def which(self, *names: str) -> str | None:
        """Return the first of these programs that there is; a name may hold a pattern."""
        for name in names:
            for folder in PATH:
                found = sorted((self.root / folder).glob(name))
                if found:
                    return f"/{found[-1].relative_to(self.root)}"
        return None

    def command(self, *words: str) -> list[str]:
        """Return the words that run a program of this release."""
        return list(words) if self.root == Path("/") else ["chroot", str(self.root), *words]

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program, with both outputs in ``stdout``."""
        return subprocess.run(
            self.command(*words),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LC_ALL": "C"},
        )

    @contextmanager
    def stage(self, files: Path) -> Iterator[Stage]:
        """Copy a host's files to where the programs can read them, with all paths in them turned to there."""
        folder = self.root / "tmp"
        with tempfile.TemporaryDirectory(prefix="slipway-", dir=folder) as made:
            # Servers that drop root read here too.
            Path(made).chmod(0o755)
            outside = Path(made)
            shutil.copytree(files, outside, dirs_exist_ok=True)
            yield Stage(self, outside, f"/{outside.relative_to(self.root)}")

    def unit_faults(self, folder: Path, *lacking: str) -> list[str]:
        """Return what systemd finds wrong in the units and drop-ins of a staged folder, read together.

        A drop-in is read with the distribution's own service where these programs bring it. ``lacking`` are programs
        of a host that nobody expects here.
        """
        units = sorted({path.name.removesuffix(".d") for path in folder.iterdir()})
        for unit in units:
            if not any((place / unit).exists() for place in (folder, self.root / "lib/systemd/system")):
                (folder / unit).write_text("[Service]\nExecStart=/bin/true\n")
        search = f"SYSTEMD_UNIT_PATH=/{folder.relative_to(self.root)}:"
        done = self.run("env", search, "systemd-analyze", "verify", "--man=no", *units)
        said = done.stdout.splitlines()
        # This machine itself may have none of a host's.
        programs = r"\S+" if self.root == Path("/") else "|".join(lacking)
        missing = re.compile(rf"Command ({programs}) is not executable: No such file or directory$")
        faults = [line for line in said if not missing.search(line)]
        # It fails without a word of its own only for what is missing.
        return faults or ([f"it ended with {done.returncode}"] if done.returncode and not said else [])


@dataclass(frozen=True)
class Stage:
    """A copy of a host's files: ``outside`` as this process sees it, ``inside`` as the programs do."""

    parsers: Parsers
    outside: Path
    inside: str

    def path(self, path: Path) -> str:
        """Return a staged file's path as the programs see it."""
        return f"{self.inside}/{path.relative_to(self.outside)}"

    def files(self, pattern: str) -> list[Path]:
        """Return the staged files whose path from the root matches, such as ``etc/.*\\.conf``."""
        return sorted(
            path
            for path in self.outside.rglob("*")
            if path.is_file() and re.fullmatch(pattern, str(path.relative_to(self.outside)))
        )

    def turn(self, path: Path, *changes: tuple[str, str]) -> None:
        """Turn paths of the host in a file to the stage, after further changes (pattern, replacement)."""
        text = path.read_text(encoding="utf-8")
        for pattern, replacement in changes:
            text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
        folders = {f"/{p.parent.relative_to(self.outside)}" for p in self.outside.rglob("*") if p.is_file()}
        known = "|".join(re.escape(folder) for folder in sorted(folders, key=len, reverse=True))
        text = re.sub(rf"(?<![\w./-])({known})(?=[/\s;'\"]|$)", rf"{self.inside}\1", text, flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")


def parsers_of(release: str) -> Parsers | None:
    """Return the programs of a Debian release; none if this machine has no way to run them."""
    folder = ROOT / ".slipway/parsers" / release
    if os.geteuid() == 0 and (folder / ".slipway-parsers").exists():
        return Parsers(folder, release)
    return Parsers(Path("/"), release) if _machine_release() == release else None


def parsers_with(release: str, *names: str) -> tuple[Parsers, str]:
    """Return the programs of a release, and the first of these that there is; skips the test where there is none."""
    parsers = parsers_of(release)
    found = parsers.which(*names) if parsers else None
    if parsers is None or found is None:
        try:
            source()
            reason = "`make parsers` brings it"
        except LeftOutError as error:
            reason = str(error)
        pytest.skip(f"no {names[0]} of Debian's {release} here: {reason}")
    return parsers, found


def shell_faults(text: str, *allowed: str) -> list[str]:
    """Return what this machine's shell and shellcheck have against a script; ``allowed`` are codes of shellcheck."""
    read = subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False)
    if not text.startswith("#!/bin/sh"):
        # OpenRC's: its shebang is no shell's, and it reads the variables that look unused, and sets those that look
        # unset.
        allowed = (*allowed, "SC1008", "SC2034", "SC2154")
    # The shell of POSIX, which is what Debian's and Alpine's have in common.
    command = [str(Path(sys.executable).with_name("shellcheck")), "--shell=sh", "--format=gcc"]
    command += [f"--exclude={','.join(allowed)}"] if allowed else []
    checked = subprocess.run([*command, "-"], input=text, capture_output=True, text=True, check=False)
    assert checked.returncode in (0, 1), checked.stderr
    return [*read.stderr.splitlines(), *checked.stdout.splitlines()]
