"""The file server: what the lab gives targets to download, over http, as the open network would.

Everything in :data:`FOLDER` is served, by a container on the lab's network. It stays between two commands.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab import cache, engine, images, network
from lab.base import LABEL, PREFIX, ROOT, ROOT_LABEL, STATE, wait_for
from lab.engine import docker

CONTAINER = f"{PREFIX}-files"
FOLDER = STATE / "files"
# Debian release the server runs on.
RELEASE = "trixie"
SCRIPT = """\
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get -qq update
apt-get -qq install -y --no-install-recommends busybox
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
"""
COMMAND = ("busybox", "httpd", "-f", "-p", "80", "-h", "/srv")
# Seconds until it answers after its start.
START_TIMEOUT = 30


@dataclass(frozen=True)
class Served:
    """One file: the URL by which a target fetches it, and its SHA-256 in hex digits."""

    url: str
    sha256: str

    @property
    def checksum(self) -> str:
        """Return the checksum as Ansible writes it."""
        return f"sha256:{self.sha256}"


def ensure() -> str:
    """Start the server unless it runs; return its URL."""
    engine.ensure()
    engine.refuse_foreign()
    subnet = network.ensure()
    address = network.host(subnet, network.FILES_HOST)
    if not docker("ps", "-q", "--filter", f"name=^{CONTAINER}$"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        access = cache.ensure(subnet)
        image = images.build("files", images.debian(RELEASE), SCRIPT, {}, access)
        docker("rm", "--force", CONTAINER, check=False)
        docker(
            *("run", "--detach", "--init", "--name", CONTAINER, "--restart", "always"),
            *("--label", LABEL, "--label", f"{ROOT_LABEL}={ROOT}"),
            *("--network", network.NAME, "--ip", address, "--volume", f"{FOLDER}:/srv:ro"),
            *(image, *COMMAND),
        )
        wait_for("an answer of the file server", lambda: _answers(address), START_TIMEOUT)
    return f"http://{address}"


def _answers(address: str) -> bool:
    with suppress(OSError), socket.create_connection((address, 80), timeout=1):
        return True
    return False


def publish(path: Path) -> Served:
    """Return how a target fetches ``path``, which lies in :data:`FOLDER`."""
    name = path.relative_to(FOLDER).as_posix()
    return Served(f"{ensure()}/{name}", hashlib.sha256(path.read_bytes()).hexdigest())


def put(name: str, content: bytes) -> Served:
    """Serve this content under this name; return how a target fetches it."""
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return publish(path)


def packed(folder: Path) -> Served:
    """Serve what is in this folder as a .tar.gz, its top left out; the same file for the same content."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            entry = tar.gettarinfo(path, path.relative_to(folder).as_posix())
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            with path.open("rb") if entry.isfile() else io.BytesIO() as content:
                tar.addfile(entry, content)
    return put(f"{folder.name}.tar.gz", gzip.compress(tarred.getvalue(), mtime=0))
