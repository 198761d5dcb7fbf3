"""Make a folder with the programs that read our configuration files, for the tests of the templates.

    python -m tools.parsers [RELEASE ...]

A test of a template wants the real parser of the release it is written for: an older nginx refuses
what a newer one takes. So this bootstraps a small Debian of that release into
``.slipway/parsers/RELEASE`` (all known ones by default), where ``chroot`` finds nginx, PHP-FPM, MariaDB,
Redis, vsftpd, systemd and Docker's Compose. Takes about a minute, once. Needs root, and apt sources of Debian: where
they aren't, it says so and is done. Then the tests use the programs of this machine, and say which are missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab import archive
from lab.base import LabError, install

FOLDER = Path(__file__).resolve().parents[1] / ".slipway/parsers"
PACKAGES = {
    "bookworm": (),
    # Older releases have Compose as a program of its own, of version 1.
    "trixie": ("docker-cli", "docker-compose"),
}
ALWAYS = (
    "chrony",
    "logrotate",
    "mariadb-server-core",
    "nftables",
    "nginx-light",
    "openssh-server",
    "php-cli",
    "php-fpm",
    "redis-server",
    "systemd",
    "vsftpd",
)
# Changes when the folder has to be made anew.
RECIPE = "2"


class LeftOutError(LabError):
    """A machine on which nobody can make a folder and use it; the message says why."""


def source() -> archive.Archive:
    """Return where the packages come from; raises LeftOutError."""
    if os.geteuid():
        raise LeftOutError("only root can make and use the folders of .slipway/parsers")
    found = archive.of_this_machine() if shutil.which("apt-get") else None
    if found is None:
        raise LeftOutError("this machine's apt has no source of Debian")
    return found


def make(release: str) -> Path:
    """Return the folder of a release, made if it isn't there; raises LeftOutError, and LabError if making it fails."""
    packages = source()
    folder = FOLDER / release
    wanted = " ".join((RECIPE, *sorted((*ALWAYS, *PACKAGES[release]))))
    mark = folder / ".slipway-parsers"
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return folder
    install("mmdebstrap", program="mmdebstrap")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".sources") as sources:
        sources.write(packages.sources(release))
        sources.flush()
        command = ["mmdebstrap", "--quiet", "--variant=minbase"]
        command += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"]
        command += [f"--aptopt={option.rstrip(';')}" for option in archive.options()]
        command += [f"--include={','.join((*ALWAYS, *PACKAGES[release]))}"]
        done = subprocess.run(
            [*command, release, str(folder), sources.name], capture_output=True, text=True, check=False
        )
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise LabError(f"bootstrapping Debian {release} failed: {last}")
    mark.write_text(wanted, encoding="utf-8")
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Make the folders asked for; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("releases", nargs="*", metavar="RELEASE", default=sorted(PACKAGES))
    for release in parser.parse_args(arguments).releases:
        if release not in PACKAGES:
            print(f"unknown release {release}; one of: {', '.join(PACKAGES)}", file=sys.stderr)
            return 1
        try:
            print(make(release))
        except LeftOutError as error:
            print(f"left out: {error}")
            return 0
        except LabError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
