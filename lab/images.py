"""Images: Debian's base system, and what is built on it. Each is named after what it is made of, so built once."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import archive
from lab.base import LABEL, PREFIX, STATE, LabError, install, say
from lab.engine import docker

# Change it when this module makes other images of the same inputs.
RECIPE = 1
# Names the images that came from a registry, one a line, so that `down` removes these too.
PULLED = STATE / "pulled"
# Tells Debian's apt of the package cache; its name sorts after what the image brings, so that it goes before.
APT_PROXY = "/etc/apt/apt.conf.d/99zz-lab-cache"


@dataclass(frozen=True)
class Access:
    """How a container reaches packages: the engine's network, and the package cache's URL if there is one."""

    network: str
    proxy: str | None


def digest(*inputs: object) -> str:
    """Return 12 hex digits that stand for these inputs."""
    text = json.dumps([RECIPE, *inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def exists(image: str) -> bool:
    """Tell whether the engine has this image."""
    return bool(docker("image", "ls", "-q", image))


def debian(release: str) -> str:
    """Return the image of Debian's minimal system of ``release``, made if it isn't there.

    Bootstrapped from the archive this machine's apt trusts; on other machines pulled from a registry.
    """
    source = archive.of_this_machine() if shutil.which("apt-get") else None
    able = shutil.which("mmdebstrap") or not os.geteuid()
    if source is None or not able:
        return _pulled(release)
    options = archive.options()
    sources = source.sources(release)
    image = f"{PREFIX}-lab/debian-{release}:{digest(sources, options)}"
    if not exists(image):
        install("mmdebstrap", program="mmdebstrap")
        say(f"bootstrapping Debian {release}")
        _bootstrap(release, sources, options, image)
    return image


def _bootstrap(release: str, sources: str, options: list[str], image: str) -> None:
    with tempfile.TemporaryDirectory(prefix="slipway-lab-") as folder:
        deb822 = Path(folder) / "debian.sources"
        deb822.write_text(sources)
        words = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates"]
        words += [f"--aptopt={option.rstrip(';')}" for option in options]
        # mmdebstrap writes its sources to sources.list; ours stay as they are, as on a fresh VM.
        words += [f"--customize-hook=upload {deb822} /etc/apt/sources.list.d/debian.sources"]
        words += ['--customize-hook=rm -f "$1/etc/apt/sources.list" "$1"/etc/apt/sources.list.d/0*']
        words += [release, "-", str(deb822)]
        log = Path(folder) / "log"
        with (
            log.open("w") as errors,
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors) as bootstrap,
        ):
            imported = subprocess.run(
                ["docker", "import", "--change", f"LABEL {LABEL}", "-", image],
                stdin=bootstrap.stdout,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                check=False,
            )
        if bootstrap.returncode or imported.returncode:
            docker("image", "rm", "--force", image, check=False)
            lines = log.read_text().strip().splitlines() or ["no message"]
            raise LabError(f"bootstrapping Debian {release} failed: {lines[-1]}")


def _pulled(release: str) -> str:
    """Pull Debian's official image and return it by its digest."""
    name = f"debian:{release}-slim"
    if not exists(name):
        say(f"pulling {name}")
        try:
            docker("pull", "--quiet", name)
        except LabError as error:
            raise LabError(f"no Debian archive in this machine's apt, no registry: {error}") from None
        STATE.mkdir(parents=True, exist_ok=True)
        with PULLED.open("a") as file:
            file.write(f"{name}\n")
    return docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", name)


def build(name: str, base: str, script: str, files: dict[str, str], access: Access) -> str:
    """Return the image ``name`` that ``script`` (sh) makes of ``base``, built if it isn't there.

    ``files`` are put into the image first, by absolute path. The script runs as root in a container rather than in
    ``docker build``, because BuildKit offers no user-defined network, so no package cache.
    """
    image = f"{PREFIX}-lab/{name}:{digest(base, script, files)}"
    if exists(image):
        return image
    say(f"building {name}")
    container = docker(
        *("create", "--label", LABEL, "--network", access.network, "--interactive"),
        *(base, "/bin/sh", "-eux"),
    )
    try:
        for path, content in files.items():
            put(container, path, content)
        if access.proxy:
            use_cache(container, access)
            script += f"\nrm -f {APT_PROXY}\n"
        docker("start", "--attach", "--interactive", container, stdin=script)
        docker("commit", "--change", f"LABEL {LABEL}", container, image)
    finally:
        docker("rm", "--force", "--volumes", container, check=False)
    return image


def use_cache(container: str, access: Access) -> None:
    """Let apt in a container use the package cache, if there is one."""
    if access.proxy:
        put(container, APT_PROXY, f'Acquire::http::Proxy "{access.proxy}";\n')


def put(container: str, path: str, content: str, mode: int = 0o644, owner: int = 0) -> None:
    """Write a file into a container, running or not; ``owner`` is its user's id.

    Folders that are missing are made, root's and readable by all.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo(path.lstrip("/"))
        data = content.encode()
        entry.size, entry.mode, entry.uid = len(data), mode, owner
        tar.addfile(entry, io.BytesIO(data))
    docker("cp", "-", f"{container}:/", stdin=packed.getvalue())
