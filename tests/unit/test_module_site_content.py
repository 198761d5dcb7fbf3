"""What becomes of a web root: exactly the content of a folder or an archive, and no way out of it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plugins.modules.site_content import (
    ContentError,
    Entry,
    all_due,
    differing,
    digest,
    prove,
    read_folder,
    reading,
    remove,
    strangers,
    write,
)

Pack = Callable[[Path, dict[str, str], dict[str, str]], dict[str, str | None]]


def as_folder(path: Path, files: dict[str, str], links: dict[str, str]) -> dict[str, str | None]:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    for name, target in links.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).symlink_to(target)
    return {"folder": str(path), "archive": None}


def as_tar(path: Path, files: dict[str, str], links: dict[str, str]) -> dict[str, str | None]:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mode, entry.uid = len(text), 0o600, 4711
            archive.addfile(entry, io.BytesIO(text.encode()))
        for name, target in links.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return {"folder": None, "archive": str(path)}


def as_zip(path: Path, files: dict[str, str], links: dict[str, str]) -> dict[str, str | None]:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        for name, target in links.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, target)
    return {"folder": None, "archive": str(path)}


KINDS = pytest.mark.parametrize("pack", [as_folder, as_tar, as_zip])


def deploy(root: Path, source: dict[str, str | None], exclude: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Deploy a content as the module does; return what was written and what was removed."""
    with reading(**source, exclude=exclude) as content:
        todo = differing(root, content)
        for path in todo:
            write(root, path, content[path])
        gone = strangers(root, {path: entry.kind for path, entry in content.items()})
    for path in gone:
        remove(root / path)
    return todo, gone


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@KINDS
def test_a_web_root_becomes_the_content(root: Path, tmp_path: Path, pack: Pack) -> None:
    source = pack(tmp_path / "source", {"index.html": "one", "more/page.html": "two"}, {"start": "more/page.html"})
    deploy(root, source)
    assert (root / "index.html").read_text() == "one"
    assert (root / "start").read_text() == "two"
    assert stat.S_IMODE((root / "more" / "page.html").stat().st_mode) == 0o644
    assert stat.S_IMODE((root / "more").stat().st_mode) == 0o755
    assert (root / "index.html").stat().st_uid == os.geteuid()
    assert deploy(root, source) == ([], [])


@KINDS
def test_what_the_next_content_lacks_goes(root: Path, tmp_path: Path, pack: Pack) -> None:
    before = root.stat().st_ino
    deploy(
        root, pack(tmp_path / "one", {"index.html": "1", "old.css": "1", "gone/a": "1", "turns": "1"}, {"l": "old.css"})
    )
    written, removed = deploy(root, pack(tmp_path / "two", {"index.html": "2", "turns/b": "2", "l": "2"}, {}))
    assert removed == ["gone", "old.css"]
    assert set(written) == {"index.html", "turns", "turns/b", "l"}
    assert sorted(path.name for path in root.rglob("*")) == ["b", "index.html", "l", "turns"]
    # A container mounts it: another folder in its place would be served by nobody.
    assert root.stat().st_ino == before


@KINDS
def test_a_change_by_hand_is_undone(root: Path, tmp_path: Path, pack: Pack) -> None:
    source = pack(tmp_path / "source", {"index.html": "one", "other.html": "two"}, {})
    deploy(root, source)
    times = (root / "index.html").stat().st_mtime
    (root / "index.html").write_text("bad")
    os.utime(root / "index.html", (times, times))
    (root / "other.html").chmod(0o666)
    (root / ".slipway-new-cut").write_text("half")
    assert deploy(root, source) == (["index.html", "other.html"], [".slipway-new-cut"])
    assert (root / "index.html").read_text() == "one"


@KINDS
@pytest.mark.parametrize(
    "links",
    [
        {"a": "/etc/passwd"},
        {"a": "../outside"},
        {"deep/er/a": "../../../outside"},
        {"a": "a"},
        # Inside by its letters, outside by what they lead to.
        {"x/y/z/d": "../../../top", "e": "x/y/z/d/../.."},
        {"a": "b", "b": "/"},
    ],
    ids=["absolute", "up", "up from below", "no end", "by another", "two steps"],
)
def test_links_that_lead_out_are_refused(root: Path, tmp_path: Path, pack: Pack, links: dict[str, str]) -> None:
    """And nothing of the content is deployed: what was served before goes on."""
    source = pack(tmp_path / "source", {"index.html": "new", "top/f": "", "x/y/z/f": ""}, links)
    (root / "index.html").write_text("old")
    with pytest.raises(ContentError, match="symbolic links lead out of it") as caught:
        deploy(root, source)
    assert any(f"{path} -> {target}" in str(caught.value) for path, target in links.items())
    assert [path.name for path in root.iterdir()] == ["index.html"]
    assert (root / "index.html").read_text() == "old"


@KINDS
@pytest.mark.parametrize(
    "links", [{"more/up": "../index.html"}, {"here": "."}, {"none": "missing"}, {"d/e": "..", "f": "d/e/index.html"}]
)
def test_links_that_stay_inside_are_kept(root: Path, tmp_path: Path, pack: Pack, links: dict[str, str]) -> None:
    source = pack(tmp_path / "source", {"index.html": "new"}, links)
    deploy(root, source)
    assert {name: str((root / name).readlink()) for name in links} == links
    assert deploy(root, source) == ([], [])


def test_nothing_is_written_through_a_link_of_before(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "page").write_text("same")
    (root / "sub").symlink_to(outside)
    deploy(root, as_folder(tmp_path / "source", {"sub/page": "same", "sub/other": "new"}, {}))
    assert sorted(path.name for path in outside.iterdir()) == ["page"]
    assert sorted(path.name for path in (root / "sub").iterdir()) == ["other", "page"]
    assert not (root / "sub").is_symlink()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "archive"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(ContentError, match="lies outside"), reading(None, str(path)):
        pass


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "archive"
    entry = tarfile.TarInfo("device")
    entry.type = kind
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry)
    with pytest.raises(ContentError, match="device is neither"), reading(None, str(path)):
        pass


def test_a_hard_link_is_a_file_of_its_own(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with tarfile.open(path, "w") as archive:
        first, second = tarfile.TarInfo("first"), tarfile.TarInfo("second")
        first.size, second.type, second.linkname = 3, tarfile.LNKTYPE, "first"
        archive.addfile(first, io.BytesIO(b"one"))
        archive.addfile(second)
    deploy(root, {"folder": None, "archive": str(path)})
    assert (root / "second").read_text() == "one"
    assert (root / "second").stat().st_nlink == 1


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<html>")
    with pytest.raises(ContentError, match="no archive that can be read"), reading(None, str(path)):
        pass


def test_times_that_no_calendar_has_are_taken(root: Path, tmp_path: Path) -> None:
    zipped, tarred = tmp_path / "zip", tmp_path / "tar"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(zipfile.ZipInfo("page", (1980, 0, 0, 0, 0, 0)), "one")
    deploy(root, {"folder": None, "archive": str(zipped)})
    assert (root / "page").read_text() == "one"
    with tarfile.open(tarred, "w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("page")
        entry.size, entry.mtime = 3, 1e30
        archive.addfile(entry, io.BytesIO(b"two"))
    deploy(root, {"folder": None, "archive": str(tarred)})
    assert (root / "page").read_text() == "two"


def test_a_damaged_file_is_found_before_any_is_written(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.html", "one")
        archive.writestr("b.html", os.urandom(5000))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with reading(None, str(path)) as content, pytest.raises(ContentError, match=r"b\.html"):
        prove(content, sorted(content))


def test_a_content_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("/".join(["d"] * 1500))
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    with pytest.raises(ContentError, match="deeply"), reading(None, str(path)):
        pass


def test_what_is_excluded_is_left_out(root: Path, tmp_path: Path) -> None:
    """A submodule has a file of that name, deeper down."""
    files = {"index.html": "one", ".git/config": "", "module/.git": "gitdir: x", "module/page.html": "two"}
    deploy(root, as_folder(tmp_path / "source", files, {}), exclude=[".git"])
    assert sorted(path.name for path in root.rglob("*")) == ["index.html", "module", "page.html"]


def test_what_is_of_another_kind_is_a_stranger(tmp_path: Path) -> None:
    """A folder whose name a file has now, and the other way round, is in the way of whoever copies."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/old.html").touch()
    (tmp_path / "news").touch()
    (tmp_path / "blog").symlink_to("docs")
    (tmp_path / "same").touch()
    wanted = {"docs": "file", "news": "folder", "news/index.html": "file", "blog": "folder", "same": "file"}
    assert strangers(tmp_path, wanted) == ["blog", "docs", "news"]


# Which sites have something to be done.

WHO = pytest.mark.skipif(os.geteuid() != 0, reason="what is served is root's")
PAGES = {"index.html": "<title>harbour</title>", "more/page.html": "more"}


def git(*words: str) -> None:
    who = {"GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@example.test"}
    who |= {"GIT_COMMITTER_NAME": "x", "GIT_COMMITTER_EMAIL": "x@example.test"}
    subprocess.run(["git", *words], env={**os.environ, **who}, check=True, capture_output=True)


class Deployed:
    """A site that is as it is to be: of a folder, of an archive, and of a repository."""

    def __init__(self, top: Path, kind: str) -> None:
        self.top, self.base = top / "sites", top / "sites/docs"
        self.public = self.base / "public"
        self.public.mkdir(parents=True)
        as_folder(top / "source", PAGES, {"start": "index.html"})
        content = read_folder(top / "source", [])
        content = {path: content[path] for path in sorted(content)}
        for path, entry in content.items():
            write(self.public, path, entry)
        self.source: dict[str, Any] = self._from_folder(content) if kind == "folder" else getattr(self, f"_{kind}")(top)
        for folder in (self.base, self.public):
            folder.chmod(0o755)

    def _from_folder(self, content: dict[str, Entry]) -> dict[str, Any]:
        def value(entry: Entry) -> str:
            if entry.kind != "file":
                return entry.target
            with entry.open() as opened:
                return digest(opened)

        return {"manifest": {path: [entry.kind, value(entry)] for path, entry in content.items()}}

    def _archive(self, top: Path) -> dict[str, Any]:
        as_tar(top / "packed", PAGES, {"start": "index.html"})
        checksum = hashlib.sha512((top / "packed").read_bytes()).hexdigest()
        packed = (top / "packed").rename(self.base / f"archive-{checksum[:16]}")
        packed.chmod(0o600)
        return {"archive": "https://mirror.example.test/packed", "checksum": f"sha512:{checksum}"}

    def _git(self, top: Path) -> dict[str, Any]:
        source = str(top / "source")
        git("init", "--quiet", "--initial-branch", "main", source)
        git("-C", source, "add", ".")
        git("-C", source, "commit", "--quiet", "--message", "one")
        git("-C", source, "tag", "--annotate", "--message", "first", "v1")
        git("clone", "--quiet", source, str(self.base / "checkout"))
        (self.base / "checkout").chmod(0o700)
        return {"git": source, "version": "main"}

    @property
    def due(self) -> dict[str, str]:
        return all_due([{"name": "docs", "source": self.source}], self.top, os.getegid())


@pytest.fixture
def deployed(request: pytest.FixtureRequest, tmp_path: Path) -> Deployed:
    return Deployed(tmp_path, request.param)


@WHO
@pytest.mark.parametrize("deployed", ["folder", "archive", "git"], indirect=True)
def test_a_site_is_due_exactly_if_something_of_it_differs(deployed: Deployed) -> None:
    assert deployed.due == {}
    index = deployed.public / "index.html"
    for change, back in (
        (lambda: index.write_text("other"), lambda: index.write_text(PAGES["index.html"])),
        (lambda: index.chmod(0o666), lambda: index.chmod(0o644)),
        (lambda: os.chown(index, 4711, 0), lambda: os.chown(index, 0, 0)),
        ((deployed.public / "new").touch, (deployed.public / "new").unlink),
        ((deployed.base / "left").touch, (deployed.base / "left").unlink),
        (lambda: deployed.public.chmod(0o700), lambda: deployed.public.chmod(0o755)),
        (lambda: os.chown(deployed.public, 0, 4711), lambda: os.chown(deployed.public, 0, os.getegid())),
    ):
        change()
        assert list(deployed.due) == ["docs"]
        back()
        assert deployed.due == {}
    shutil.rmtree(deployed.base)
    assert list(deployed.due) == ["docs"]


@WHO
@pytest.mark.parametrize("deployed", ["archive"], indirect=True)
def test_another_archive_is_due(deployed: Deployed) -> None:
    deployed.source["checksum"] = f"sha512:{'0' * 128}"
    assert list(deployed.due) == ["docs"]


@WHO
@pytest.mark.parametrize("deployed", ["git"], indirect=True)
def test_what_the_repository_has_is_asked_for(deployed: Deployed) -> None:
    source, checkout = deployed.source["git"], deployed.base / "checkout"
    head = subprocess.run(["git", "-C", source, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    for version in ("main", "v1", head.stdout.strip()):
        deployed.source["version"] = version
        assert deployed.due == {}, version
    (checkout / "left").touch()
    assert list(deployed.due) == ["docs"]
    (checkout / "left").unlink()
    # The end of another branch's name is not it.
    git("-C", source, "branch", "other/main")
    git("-C", source, "commit", "--quiet", "--allow-empty", "--message", "two")
    assert deployed.due == {}
    deployed.source["version"] = "main"
    assert list(deployed.due) == ["docs"]
    deployed.source["git"] = "/none/at/all"
    assert list(deployed.due) == ["docs"]
