"""The lab's Alpine: what needs no engine, and that its packages fit together."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import alpine, platforms, rehearsal, vm
from lab.rehearsal import HERE, build
from tests.parsers import shell_faults

DATA = build.load(HERE / "packages.toml")
PACKAGES = DATA["package"]
FILES = sorted(path for path in (HERE / "files").rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.read_bytes().startswith(b"#!/") and path.suffix != ".nft"]
# Packages on the disk, so in the repositories without an entry; those that entries name.
ON_DISK = {
    "alpine-baselayout",
    "alpine-keys",
    "alpine-release",
    "apk-tools",
    "busybox",
    "busybox-binsh",
    "busybox-openrc",
    "ca-certificates",
    "ca-certificates-bundle",
    "e2fsprogs",
    "ifupdown-ng",
    "musl-utils",
    "openrc",
    "ssl_client",
}

INSTALLED = """\
C:Q1VFqm8pEgmviZMrdh2eQiwneFlsw=
P:sudo
V:1.9.17_p2-r0
T:Give certain users the ability to run some commands as root
D:so:libc.musl-x86_64.so.1
F:
R:top
Z:Q1top
F:usr/bin
M:0:0:711
R:sudo
a:0:42:4755
Z:Q1sudo
R:sudoedit
Z:Q1edit

C:Q1x=
P:other
V:1-r0
"""


def test_platform_is_a_vm_of_alpine() -> None:
    kind = platforms.find("alpine")
    assert (kind.family, kind.service_manager, kind.become) == ("Alpine", "openrc", "doas")


@pytest.mark.parametrize("cgroup", [1, 2])
def test_init_is_the_first_process(cgroup: int) -> None:
    *shell, line = alpine.command(cgroup)
    assert shell == ["/bin/sh", "-c"]
    assert line.endswith("; exec /sbin/init")
    subprocess.run(["sh", "-n", "-c", line], check=True)


def test_target_script_formats_and_parses() -> None:
    values = {
        "repositories": rehearsal.use_mirror("http://10.0.0.3"),
        "packages": "a b",
        "fresh": alpine.fresh("operator", 1000),
        "init": "/.lab/init",
    }
    script = alpine.SCRIPT.format(**values)
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert "python" not in script
    assert not {"python3", "sudo", "curl"} & set(alpine.PACKAGES)


def test_vm_script_parses_and_leaves_the_console_alone() -> None:
    fresh = alpine.fresh("operator", 1000)
    script = vm.ALPINE_SCRIPT.format(files="", place=vm.PLACE_FILES, packages="a b", fresh=fresh)
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert "\t" not in script, "the shell on the console would complete a word"


@pytest.mark.parametrize(
    ("control", "names"),
    [
        ("libc6 (>= 2.34), zlib1g (>= 1:1.1.4)", ["libc6", "zlib1g"]),
        ("debconf (>= 0.5) | debconf-2.0, python3:any", ["debconf", "python3"]),
        ("liba,\n libb", ["liba", "libb"]),
        ("", []),
    ],
)
def test_dependencies(control: str, names: list[str]) -> None:
    assert build.dependencies(control) == names


@pytest.mark.parametrize("name", ["libc6", "zlib1g", "libssl3t64", "libpam-modules", "openssl-provider-legacy"])
def test_libraries(name: str) -> None:
    assert build.is_library(name)


@pytest.mark.parametrize("name", ["perl", "libdbi-perl", "libpam-runtime", "libpython3.13-stdlib", "nginx-common"])
def test_no_libraries(name: str) -> None:
    assert not build.is_library(name)


@pytest.mark.parametrize(
    ("debian", "version"),
    [
        ("2.41-12+deb13u5", "2.41-r0"),
        ("1:1.3.dfsg+really1.3.1-1", "1.3-r0"),
        ("0~20190702+dfsg-4", "0-r0"),
        ("2026f-0+deb13u1", "2026-r0"),
    ],
)
def test_apk_version(debian: str, version: str) -> None:
    assert build.apk_version(debian) == version


def test_database_of_installed_packages() -> None:
    sudo, other = build.parse_installed(INSTALLED)
    assert (sudo["P"], sudo["V"], sudo["D"]) == ("sudo", "1.9.17_p2-r0", "so:libc.musl-x86_64.so.1")
    assert sudo["paths"]["usr/bin"] == (0, 0, 0o711)
    assert sudo["paths"]["usr/bin/sudo"] == (0, 42, 0o4755)
    assert sudo["paths"]["usr/bin/sudoedit"] is None
    assert sudo["checksums"] == {"top": "Q1top", "usr/bin/sudo": "Q1sudo", "usr/bin/sudoedit": "Q1edit"}
    assert other["paths"] == {}


def test_changes_to_the_disk_are_undone(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root:x:0\nadded:x:1000\nadder:x:3\n")
    (tmp_path / "mtab").write_text("")
    changes: dict[str, dict[str, Any]] = {
        "passwd": {"without": ["added:"], "replace": {"root:x:": "root::"}},
        "hostname": {"text": "localhost\n"},
        "mtab": {"link": "../proc/mounts"},
    }
    build.restore(tmp_path, changes)
    assert (tmp_path / "passwd").read_text() == "root::0\nadder:x:3\n"
    assert (tmp_path / "hostname").read_text() == "localhost\n"
    assert str((tmp_path / "mtab").readlink()) == "../proc/mounts"


def test_a_file_that_is_not_alpines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello\n")
    good = {"checksums": {"a": "Q19XLS2Bmx3u9pVTQ0sPf5SMQgGeA="}}
    good["checksums"]["a"] = build.apk_checksum(tmp_path / "a")
    build.verify(tmp_path, [good])
    (tmp_path / "a").write_text("other\n")
    with pytest.raises(SystemExit, match="not as Alpine's packages had them: a"):
        build.verify(tmp_path, [good])


def test_take_follows_patterns_and_keeps_modes(tmp_path: Path) -> None:
    tree, stage = tmp_path / "tree", tmp_path / "stage"
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/tool8.4").write_text("x")
    (tree / "usr/bin/tool8.4").chmod(0o4755)
    (tree / "usr/bin/link").symlink_to("tool8.4")
    build.take(tree, ["usr/bin/tool8.4 -> usr/bin/tool84", "usr/bin/l* -> bin/"], stage)
    assert (stage / "usr/bin/tool84").stat().st_mode & 0o7777 == 0o4755
    assert (stage / "bin/link").is_symlink()
    with pytest.raises(SystemExit, match="nothing matches usr/lib"):
        build.take(tree, ["usr/lib/*"], stage)


def test_scripts_of_packages_parse() -> None:
    text = build.user_script(["nginx:/var/lib/nginx:www-data"], ["docker"]) + build.folder_script(
        ["0750 nginx:nginx /var/x"]
    )
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)
    assert "addgroup nginx www-data" in text
    assert "addgroup -S docker" in text
    assert "install -d -m 0750 -o nginx -g nginx /var/x" in text


def test_php_extensions_load_after_what_they_need() -> None:
    texts = {path: text for name in PACKAGES for path, text in PACKAGES[name].get("texts", {}).items()}
    order = sorted(path.rsplit("/", 1)[1] for path in texts if path.startswith("etc/php84/conf.d/"))
    assert order.index("00_pdo.ini") < order.index("02_pdo_mysql.ini")
    assert order.index("01_mysqlnd.ini") < order.index("02_mysqli.ini") < order.index("50_redis.ini")
    assert texts["etc/php84/conf.d/00_opcache.ini"] == "zend_extension=opcache\n"


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_package_is_complete(name: str) -> None:
    entry = PACKAGES[name]
    assert entry["repository"] in {"main", "community"}
    assert re.fullmatch(r"\d+(\.\d+)*[a-z]?(_p\d+)?-r\d+", entry["version"])
    named = {dependency for dependency in entry.get("depends", []) if not dependency.startswith(("debian-", "!"))}
    assert named <= set(PACKAGES) | ON_DISK
    # Only community may need community: main has to do without it.
    if entry["repository"] == "main":
        assert not {other for other in named & set(PACKAGES) if PACKAGES[other]["repository"] == "community"}


def test_what_a_fresh_vm_has_is_there() -> None:
    assert set(alpine.PACKAGES) <= set(PACKAGES) | ON_DISK
    assert all(PACKAGES[name]["repository"] == "main" for name in alpine.PACKAGES if name in PACKAGES)


def test_files_belong_to_packages() -> None:
    assert {path.name for path in (HERE / "files").iterdir()} <= set(PACKAGES)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(HERE / "files")))
def test_openrc_scripts_parse(path: Path) -> None:
    # An unquoted list of words and local variables, as Alpine's own scripts have them.
    assert shell_faults(path.read_text(), "SC2086", "SC3043") == []


def test_wheels_are_pinned_by_hash() -> None:
    lines = (HERE / "requirements.txt").read_text().replace("\\\n", " ").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z-]+==[\d.]+ +--hash=sha256:[0-9a-f]{64}", line) for line in pinned)
    assert len(pinned) == 2
