#!/usr/bin/python
"""Module site_content: gives a web root exactly the content of a folder or an archive."""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import shlex
import shutil
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: site_content
short_description: Gives a web root exactly the content of a folder or an archive
description:
  - Writes what is new or differs, each file by a rename, and then removes what the content doesn't have. The web root
    itself stays the same folder, so a container may mount it.
  - Refuses a content whose symbolic links lead out of it, before anything is written.
options:
  path:
    description: The web root. Without it the content is only looked at.
    type: path
  folder:
    description: A folder with the content.
    type: path
  exclude:
    description: Names of files and folders that are left out, wherever they lie in C(folder).
    type: list
    elements: str
    default: []
  archive:
    description: An archive with the content, C(.zip) or C(.tar), packed by gzip, bzip2 or xz or not at all.
    type: path
  keep:
    description:
      - In place of a content, the paths below the web root that may stay, each with its kind - C(file), C(folder) or
        C(link); everything else is removed.
    type: dict
  sites:
    description:
      - In place of all these, static sites as the role takes them, which are compared with what is there. Nothing is
        changed; C(differing) names those that differ, and those of which that can't be told.
    type: list
    elements: dict
  dir:
    description: The folder of the sites on the host; each has C(<name>/public) in it.
    type: path
  gid:
    description: The group of the web roots.
    type: int
author: the Slipway authors
"""

EXAMPLES = r"""
- name: Deploy the archive
  site_content:
    path: /srv/slipway/static/docs/public
    archive: /srv/slipway/static/docs/archive
"""

RETURN = r"""
kinds:
  description: Paths of the content, relative to its top, folders included, each with its kind.
  type: dict
  returned: if there is a content
differing:
  description: Names of the sites that are not as they are to be, each with the first reason.
  type: dict
  returned: with C(sites)
"""

# Starts the name of a file that is being written; one that a cut run left behind is a stranger to the next.
_NEW = ".slipway-new-"
_BLOCK = 1 << 20
_PATIENCE = 60  # seconds for git
# As many links a path may lead through as for the kernel (path_resolution(7)).
_LINKS = 40
# Folders below each other; far more than any site has, and far less than Python can follow.
_DEPTH = 200


class ContentError(Exception):
    """Why a content can't be deployed, in one line."""


@dataclass(frozen=True)
class Entry:
    """One folder, file or symbolic link of a content.

    ``target`` is a link's, ``open`` gives a file's bytes, ``modified`` is its time in seconds since 1970. A file on
    another machine has its checksum in ``digest``.
    """

    kind: str
    target: str = ""
    open: Callable[[], IO[bytes]] = io.BytesIO
    modified: float = 0
    digest: str = ""


Content = dict[str, Entry]


def _relative(name: str) -> str:
    """Return a path of a content in its plain form; empty for the top. Raises :class:`ContentError`."""
    plain = posixpath.normpath(name)
    if name.startswith("/") or plain == ".." or plain.startswith("../"):
        raise ContentError(f"{name} lies outside of it")
    return "" if plain == "." else plain


def read_folder(top: Path, exclude: list[str]) -> Content:
    """Return the content of a folder; what has a name in ``exclude`` is not looked at."""
    content: Content = {}

    def visit(folder: Path, prefix: str) -> None:
        for item in os.scandir(folder):
            if item.name in exclude:
                continue
            path = prefix + item.name
            if item.is_symlink():
                content[path] = Entry("link", str(Path(item.path).readlink()))
            elif item.is_dir():
                content[path] = Entry("folder")
                visit(Path(item.path), f"{path}/")
            elif item.is_file():
                content[path] = Entry("file", open=partial(io.FileIO, item.path), modified=item.stat().st_mtime)
            else:
                raise ContentError(f"{path} is neither a file nor a folder nor a link")

    visit(top, "")
    return content


def _read_tar(archive: tarfile.TarFile) -> Content:
    content: Content = {}
    for member in archive:
        path = _relative(member.name)
        if not path or member.isdir():
            entry = Entry("folder")
        elif member.issym():
            entry = Entry("link", member.linkname)
        elif member.isfile() or member.islnk():
            if member.islnk():
                _relative(member.linkname)
            # A header of its own may hold any number (pax); the kernel's 33 bits are enough.
            modified = member.mtime if 0 <= member.mtime < 1 << 33 else 0
            entry = Entry("file", open=partial(_member, archive, member), modified=modified)
        else:
            raise ContentError(f"{member.name} is neither a file nor a folder nor a link")
        content[path] = entry
    return content


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    try:
        opened = archive.extractfile(member)
    except KeyError:
        opened = None
    if opened is None:
        raise ContentError(f"{member.name} is a hard link to {member.linkname}, which isn't there")
    return opened


def _read_zip(archive: zipfile.ZipFile) -> Content:
    content: Content = {}
    for member in archive.infolist():
        path = _relative(member.filename)
        mode = member.external_attr >> 16
        if member.flag_bits & 1:
            raise ContentError(f"{member.filename} is encrypted")
        if not path or member.is_dir():
            entry = Entry("folder")
        elif stat.S_ISLNK(mode):
            entry = Entry("link", archive.read(member).decode())
        elif stat.S_IFMT(mode) in {0, stat.S_IFREG}:
            # The time has no zone (APPNOTE 4.4.6); the host's will do.
            modified = _modified(member)
            entry = Entry("file", open=partial(archive.open, member), modified=modified)
        else:
            raise ContentError(f"{member.filename} is neither a file nor a folder nor a link")
        content[path] = entry
    return content


def _modified(member: zipfile.ZipInfo) -> float:
    """Return its time; some programs write none, or one that no calendar has."""
    try:
        return datetime(*member.date_time).timestamp()
    except (ValueError, OverflowError):
        return 0


def prove(content: Content, paths: list[str]) -> None:
    """Read the files through, so that a damaged one is found before the first is written. Raises ContentError."""
    for path in paths:
        entry = content[path]
        try:
            os.fsencode(path)
            if entry.kind == "file":
                with entry.open() as opened:
                    digest(opened)
        except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
            raise ContentError(f"{path!r} can't be read: {error}") from None


@contextmanager
def reading(folder: str | None, archive: str | None, exclude: list[str] | None = None) -> Iterator[Content]:
    """Open a content; its files can be read meanwhile. Raises :class:`ContentError`."""
    source = folder or archive or ""
    try:
        if folder:
            yield complete(read_folder(Path(folder), exclude or []))
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as zipped:
                yield complete(_read_zip(zipped))
        else:
            with tarfile.open(source) as tarred:
                yield complete(_read_tar(tarred))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, UnicodeError) as error:
        raise ContentError(f"it is no archive that can be read: {error}") from None


def complete(content: Content) -> Content:
    """Return the content with the folders that only its paths name. Raises :class:`ContentError` for a bad link."""
    content = {path: entry for path, entry in content.items() if path}
    for path in list(content):
        if path.count("/") > _DEPTH:
            raise ContentError("its folders are nested too deeply")
        parent = posixpath.dirname(path)
        while parent:
            if content.setdefault(parent, Entry("folder")).kind != "folder":
                raise ContentError(f"{path} lies below {parent}, which is no folder")
            parent = posixpath.dirname(parent)
    outside = [
        f"{path} -> {entry.target}" for path, entry in content.items() if entry.kind == "link" and leaves(content, path)
    ]
    if outside:
        more = f" and {len(outside) - 3} more" if len(outside) > 3 else ""  # noqa: PLR2004
        raise ContentError(f"symbolic links lead out of it, so they are not deployed: {', '.join(outside[:3])}{more}")
    return content


def leaves(content: Content, path: str) -> bool:
    """Tell whether a link leads out of the content, by whatever other links; so does one that has no end."""
    todo, links = path.split("/"), 0
    done: list[str] = []
    while todo:
        name = todo.pop(0)
        if name in {"", "."}:
            continue
        if name == "..":
            if not done:
                return True
            done.pop()
            continue
        done.append(name)
        entry = content.get("/".join(done))
        if entry and entry.kind == "link":
            links += 1
            if entry.target.startswith("/") or links > _LINKS:
                return True
            done.pop()
            todo = entry.target.split("/") + todo
    return False


def digest(opened: IO[bytes]) -> str:
    """Return the SHA-256 checksum of what is left of an open file."""
    summed = hashlib.sha256()
    while block := opened.read(_BLOCK):
        summed.update(block)
    return summed.hexdigest()


def _is_as_wanted(path: Path, entry: Entry) -> bool:
    """Tell whether the web root has this entry already, mode and owner included."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if entry.kind == "link":
        return stat.S_ISLNK(found.st_mode) and str(path.readlink()) == entry.target
    right = stat.S_ISDIR if entry.kind == "folder" else stat.S_ISREG
    mode = 0o755 if entry.kind == "folder" else 0o644
    if not right(found.st_mode) or stat.S_IMODE(found.st_mode) != mode or (found.st_uid, found.st_gid) != _owner():
        return False
    if entry.kind == "folder":
        return True
    with path.open("rb") as there:
        if entry.digest:
            return entry.digest == digest(there)
        with entry.open() as wanted:
            return digest(wanted) == digest(there)


def _owner() -> tuple[int, int]:
    return os.geteuid(), os.getegid()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def differing(root: Path, content: Content) -> list[str]:
    """Return the paths that have to be written, a folder before what is in it."""
    found: set[str] = set()
    for path in sorted(content):
        # What lies in a folder that is none yet is looked up by the way of what is in its place.
        above = posixpath.dirname(path)
        hidden = above in found and not _is_folder(root / above)
        if hidden or not _is_as_wanted(root / path, content[path]):
            found.add(path)
    return sorted(found)


def _kind(item: os.DirEntry[str]) -> str:
    return "link" if item.is_symlink() else "folder" if item.is_dir() else "file"


def strangers(root: Path, keep: dict[str, str]) -> list[str]:
    """Return the paths below the web root that are not in ``keep`` or of another kind there.

    Of a folder that goes, only its own.
    """
    found: list[str] = []

    def visit(folder: Path, prefix: str) -> None:
        for item in sorted(os.scandir(folder), key=lambda item: item.name):
            path = prefix + item.name
            if keep.get(path) != _kind(item):
                found.append(path)
            elif item.is_dir(follow_symlinks=False):
                visit(Path(item.path), f"{path}/")

    if root.is_dir():
        visit(root, "")
    return found


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with what is in it."""
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink()


def write(root: Path, path: str, entry: Entry) -> None:
    """Bring one entry into the web root; what is there and of another kind is removed."""
    target = root / path
    if entry.kind == "folder":
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            target.unlink()
        target.mkdir(exist_ok=True)
        os.chown(target, *_owner())
        target.chmod(0o755)
        return
    if _is_folder(target):
        shutil.rmtree(target)
    new = target.with_name(_NEW + hashlib.sha256(target.name.encode()).hexdigest()[:16])
    new.unlink(missing_ok=True)
    if entry.kind == "link":
        new.symlink_to(entry.target)
    else:
        with entry.open() as wanted, new.open("xb") as file:
            shutil.copyfileobj(wanted, file, _BLOCK)
        new.chmod(0o644)
        os.utime(new, (entry.modified, entry.modified))
    new.replace(target)


# Whether a site is as it is to be.


def _has(path: Path, mode: int, gid: int = 0, kind: Callable[[int], bool] = stat.S_ISDIR) -> bool:
    """Tell whether there is something of a kind that is root's, with this group and mode."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return kind(found.st_mode) and (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, gid, mode)


def due(site: dict[str, Any], top: Path, gid: int) -> str:
    """Return why something has to be done for a site, or nothing. Raises OSError and ContentError."""
    source, base = site["source"], top / site["name"]
    root = base / "public"
    if not _has(base, 0o755) or not _has(root, 0o755, gid):
        return "its folder"
    kept = {"public"}
    content: Content | None = None
    if "manifest" in source:
        content = {
            path: Entry(kind, digest=value) if kind == "file" else Entry(kind, value)
            for path, (kind, value) in source["manifest"].items()
        }
        reason = ""
    elif "archive" in source:
        algorithm, _, wanted = source["checksum"].partition(":")
        archive = base / f"archive-{wanted[:16]}"
        kept.add(archive.name)
        there = _has(archive, 0o600, kind=stat.S_ISREG) and _summed(archive, algorithm) == wanted.lower()
        reason = "" if there else "its archive"
    else:
        kept |= {"checkout"} | ({"deploy_key"} if "key" in source else set())
        kept |= {"known_hosts"} if "host_key" in source else set()
        reason = _checkout_due(source, base)
    if not reason and (left := sorted({path.name for path in base.iterdir()} - kept)):
        reason = left[0]
    if reason:
        return reason
    if content is not None:
        return _content_due(root, content)
    with reading(
        str(base / "checkout") if "git" in source else None, str(archive) if "archive" in source else None, [".git"]
    ) as read:
        return _content_due(root, read)


def _content_due(root: Path, content: Content) -> str:
    paths = differing(root, content) or strangers(root, {path: entry.kind for path, entry in content.items()})
    return paths[0] if paths else ""


def _summed(path: Path, algorithm: str) -> str:
    summed = hashlib.new(algorithm)
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK):
            summed.update(block)
    return summed.hexdigest()


def _git(folder: Path, *words: str, **environment: str) -> str:
    """Return what git says. Raises OSError if it fails, or takes too long."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise OSError("git takes too long") from None
    if done.returncode:
        raise OSError("git fails")
    return done.stdout.strip()


def _checkout_due(source: dict[str, Any], base: Path) -> str:
    """Return what of the checkout differs, by its first word; the repository is asked for the version."""
    key, known, checkout = base / "deploy_key", base / "known_hosts", base / "checkout"
    ssh = ["ssh", "-o", "BatchMode=yes"]
    if "key" in source:
        if not _has(key, 0o600, kind=stat.S_ISREG) or _summed(key, "sha256") != source["key"]:
            return key.name
        ssh += ["-i", str(key), "-o", "IdentitiesOnly=yes"]
    if "host_key" in source:
        wanted = f"{source['host_key'].strip()}\n"
        if not _has(known, 0o644, kind=stat.S_ISREG) or known.read_text(encoding="utf-8") != wanted:
            return known.name
        ssh += ["-o", f"UserKnownHostsFile={known}", "-o", "GlobalKnownHostsFile=/dev/null"]
        ssh += ["-o", "StrictHostKeyChecking=yes"]
    if not _has(checkout, 0o700) or not (checkout / ".git").is_dir():
        return checkout.name
    version = str(source["version"])
    if _git(checkout, "config", "remote.origin.url") != source["git"] or _git(
        checkout, "status", "--porcelain", "--ignored"
    ):
        return checkout.name
    head = _git(checkout, "rev-parse", "HEAD")
    # What is called by its own checksum is never another one.
    if head != version:
        asked = _git(checkout, "ls-remote", source["git"], version, f"{version}^{{}}", GIT_SSH_COMMAND=shlex.join(ssh))
        # Of an annotated tag the last line is the commit. More than one name may be meant: that is git's to say.
        found = {line.split()[1].removesuffix("^{}"): line.split()[0] for line in asked.splitlines()}
        exact = [commit for name, commit in found.items() if name in (f"refs/heads/{version}", f"refs/tags/{version}")]
        if exact != [head]:
            return checkout.name
    return ""


def all_due(sites: list[dict[str, Any]], top: Path, gid: int) -> dict[str, str]:
    """Return the sites for which something has to be done, each with the reason; what can't be told is one."""
    found = {}
    for site in sites:
        try:
            reason = due(site, top, gid)
        except (ContentError, OSError, ValueError) as error:
            reason = str(error)
        if reason:
            found[site["name"]] = reason
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path"},
            "folder": {"type": "path"},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "archive": {"type": "path"},
            "keep": {"type": "dict"},
            "sites": {"type": "list", "elements": "dict"},
            "dir": {"type": "path"},
            "gid": {"type": "int"},
        },
        required_one_of=[("folder", "archive", "keep", "sites")],
        mutually_exclusive=[("folder", "archive", "keep", "sites"), ("path", "sites")],
        required_by={"sites": ("dir", "gid")},
        supports_check_mode=True,
    )
    given = module.params
    if given["sites"] is not None:
        module.exit_json(changed=False, differing=all_due(given["sites"], Path(given["dir"]), given["gid"]))
    root = Path(given["path"]) if given["path"] else None
    result: dict[str, object] = {}
    changes: list[str] = []
    try:
        if given["keep"] is None:
            with reading(given["folder"], given["archive"], given["exclude"]) as content:
                result["kinds"] = {path: content[path].kind for path in sorted(content)}
                if root:
                    todo = differing(root, content)
                    prove(content, todo)
                    changes += [f"write {path}" for path in todo]
                    for path in todo if not module.check_mode else ():
                        write(root, path, content[path])
            keep = {path: entry.kind for path, entry in content.items()}
        else:
            keep = given["keep"]
        if root:
            gone = strangers(root, keep)
            changes += [f"remove {path}" for path in gone]
            for path in gone if not module.check_mode else ():
                remove(root / path)
    except (ContentError, OSError) as error:
        module.fail_json(msg=f"{given['folder'] or given['archive'] or given['path']}: {error}")
    if module._diff and changes:
        result["diff"] = {"prepared": "".join(f"{line}\n" for line in changes)}
    module.exit_json(changed=bool(changes), **result)


if __name__ == "__main__":
    main()
