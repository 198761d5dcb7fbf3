"""Build what a release consists of: the collection, the controller's Python packages, and checksums of both.

    python -m tools.dist [--output dist] [--allow-changes] [--collection-only]

``slipway-stack-VERSION.tar.gz`` is the collection, made of the files that git tracks. ``slipway-controller-*.tar`` has
the packages that the controller runs on, for the Python and the machine this is called with, and ``requirements.txt``
with their hashes; pip gets them from wherever it is configured to look. Both can be installed without a network, and
are the same bytes each time they are built of the same commit.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
CHECKSUMS = "SHA256SUMS"


class DistError(Exception):
    """What can't be built; the message is one line."""


@dataclass(frozen=True)
class Entry:
    """A file of an archive; a folder has no content."""

    name: str
    content: bytes | None
    executable: bool = False


def packed(entries: Iterable[Entry], epoch: int) -> bytes:
    """Return a tar archive that depends on nothing but its entries, in their order, and ``epoch`` (Unix time)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.mtime = epoch
            info.type = tarfile.DIRTYPE if entry.content is None else tarfile.REGTYPE
            info.mode = 0o755 if entry.content is None or entry.executable else 0o644
            info.size = len(entry.content or b"")
            archive.addfile(info, io.BytesIO(entry.content or b""))
    return buffer.getvalue()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def normalized(collection: bytes, epoch: int) -> bytes:
    """Return the archive of a collection without what differs from one build to the next.

    ansible-galaxy lists files in the order in which the file system has them, and notes the time of the build.
    """
    entries: dict[str, Entry] = {}
    with tarfile.open(fileobj=io.BytesIO(collection)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            content = file.read() if file else None
            entries[member.name] = Entry(member.name, content, bool(member.mode & 0o111))
    listing: dict[str, Any] = json.loads(entries.pop("FILES.json").content or b"")
    manifest: dict[str, Any] = json.loads(entries.pop("MANIFEST.json").content or b"")
    listing["files"].sort(key=lambda file: file["name"])
    files = json.dumps(listing, indent=1).encode()
    manifest["file_manifest_file"]["chksum_sha256"] = _sha256(files)
    first = [Entry("MANIFEST.json", json.dumps(manifest, indent=1).encode()), Entry("FILES.json", files)]
    return gzip.compress(packed([*first, *(entries[name] for name in sorted(entries))], epoch), mtime=epoch)


def _run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a program and return what it printed; raises DistError with its last line if it fails."""
    # This checkout's settings would have ansible-galaxy see it as installed.
    environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise DistError(f"{Path(command[0]).name} failed: {said[-1]}")
    return done.stdout


def build_collection(epoch: int) -> bytes:
    """Return the archive of the collection, of the files that git tracks, as they are now."""
    with tempfile.TemporaryDirectory() as name:
        tree, output = Path(name) / "tree", Path(name) / "output"
        for tracked in filter(None, _run("git", "ls-files", "-z").split("\0")):
            source, target = ROOT / tracked, tree / tracked
            # Links, such as the one to the checkout itself, are no part of it.
            if source.is_file() and not source.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        _run(BIN / "ansible-galaxy", "collection", "build", "--output-path", output, cwd=tree)
        (archive,) = output.iterdir()
        return normalized(archive.read_bytes(), epoch)


# A package of the lock with its hashes, and after them by which others it is needed.
PACKAGE = re.compile(r"^([a-z0-9._-]+)==.*\n(?: {4}--hash=.*\n)+((?: {4}#.*\n)*)", re.MULTILINE)


def runtime_requirements(lock: str, dependencies: Iterable[str]) -> str:
    """Return the part of the lock that ``dependencies`` need, without the tools for development; raises DistError."""
    blocks = {match[1]: match for match in PACKAGE.finditer(lock)}
    needed_by = {name: set(re.findall(r"[a-z0-9._-]+", match[2])) for name, match in blocks.items()}
    wanted = {re.split(r"[^\w.-]", one.lower())[0] for one in dependencies}
    if missing := wanted - blocks.keys():
        raise DistError(f"requirements.lock lacks {', '.join(sorted(missing))}; run `make lock`")
    while more := {name for name, users in needed_by.items() if users & wanted} - wanted:
        wanted |= more
    lines = [line for name in sorted(wanted) for line in blocks[name][0].splitlines() if not line.startswith("    #")]
    return "\n".join(lines) + "\n"


def build_controller(top: str, epoch: int) -> bytes:
    """Return an archive with the packages of the controller, in a folder ``top``; pip gets them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = runtime_requirements((ROOT / "requirements.lock").read_text("utf-8"), project["dependencies"])
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "requirements.txt").write_text(requirements, encoding="utf-8")
        wheels = Path(name) / "wheels"
        _run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            # A source package would be built here, and be other bytes each time.
            *("--only-binary", ":all:", "--require-hashes", "--dest", wheels, "-r", Path(name) / "requirements.txt"),
        )
        folders = [Entry(top, None), Entry(f"{top}/wheels", None)]
        files = [Entry(f"{top}/wheels/{wheel.name}", wheel.read_bytes()) for wheel in sorted(wheels.iterdir())]
        return packed([*folders, Entry(f"{top}/requirements.txt", requirements.encode()), *files], epoch)


def tag() -> str:
    """Return for which Python and machine packages are that are got here, such as cp313-linux_x86_64."""
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return f"cp{sys.version_info.major}{sys.version_info.minor}-{platform}"


def last_commit() -> int:
    """Return when the last commit was made, as Unix time, or SOURCE_DATE_EPOCH."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or _run("git", "log", "-1", "--format=%ct"))


def main(arguments: list[str] | None = None) -> int:
    """Build what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.dist", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="a folder (default: dist)")
    parser.add_argument("--allow-changes", action="store_true", help="build files that aren't committed as they are")
    parser.add_argument("--collection-only", action="store_true", help="leave out the packages of the controller")
    given = parser.parse_args(arguments)
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    try:
        if not given.allow_changes and _run("git", "status", "--porcelain"):
            raise DistError("the tree has changes: commit them, or give --allow-changes")
        epoch = last_commit()
        built = {f"slipway-stack-{version}.tar.gz": build_collection(epoch)}
        if not given.collection_only:
            built[f"slipway-controller-{version}-{tag()}.tar"] = build_controller(
                f"slipway-controller-{version}", epoch
            )
    except DistError as error:
        print(error, file=sys.stderr)
        return 1
    built[CHECKSUMS] = "".join(f"{_sha256(content)}  {name}\n" for name, content in sorted(built.items())).encode()
    given.output.mkdir(parents=True, exist_ok=True)
    for name, content in built.items():
        (given.output / name).write_bytes(content)
        print(given.output / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
