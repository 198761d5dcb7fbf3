"""A web server on this machine, from which the target can fetch archives and repositories."""

from __future__ import annotations

import functools
import http.server
import io
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def folder(path: Path, target: str) -> Iterator[str]:
    """Serve a folder meanwhile; yields its URL, as the target at this address reaches it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Sends nothing; the kernel chooses the address that leads there.
        probe.connect((target, 9))
        own = probe.getsockname()[0]
    handler = functools.partial(_Handler, directory=str(path))
    with http.server.ThreadingHTTPServer((own, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{own}:{server.server_port}"
        server.shutdown()


def archive(path: Path, files: dict[str, str]) -> None:
    """Write a gzipped tar archive of these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            data = content.encode()
            entry.size = len(data)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(data))


def _git(repository: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Slipway", "-c", "user.email=slipway@example.test", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, "-C", repository, *arguments], check=True, capture_output=True)


def commit(repository: Path, files: dict[str, str], tag: str) -> None:
    """Commit these files and tag the commit, so that a plain web server can serve the repository."""
    if not repository.exists():
        repository.mkdir()
        _git(repository, "init", "--quiet", "--initial-branch", "main")
    for name, content in files.items():
        (repository / name).write_text(content, encoding="utf-8")
    _git(repository, "add", "--all")
    _git(repository, "commit", "--quiet", "--message", f"Make {tag}")
    _git(repository, "tag", tag)
    _git(repository, "update-server-info")
