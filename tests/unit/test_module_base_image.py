"""Which of the host's own package sources a base image is made from, and how image builds reach them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.modules import base_image
from plugins.modules.base_image import (
    PLACE,
    Files,
    UnusableError,
    alpine_commands,
    apt_options,
    apt_sources,
    checksum,
    deb822,
    debian_command,
    detected,
    environment,
    for_apk,
    for_apt,
    of_release,
    one_line,
    prepared,
    work_folder,
    written,
)

DEB822 = """\
# The archive
Types: deb deb-src
URIs: https://archive.example.test/debian
# a comment in a stanza
Suites: bookworm bookworm-updates trixie trixie-updates
 trixie-backports
Components: main
Signed-By: {key}

Types: deb
URIs: https://archive.example.test/security
Suites: trixie-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEYCQjIxYJ/
 -----END PGP PUBLIC KEY BLOCK-----

Enabled: no
Types: deb
URIs: https://off.example.test/debian
Suites: trixie
Components: main

Types: deb-src
URIs: https://sources.example.test/debian
Suites: trixie
Components: main
"""
LINES = """\
deb https://archive.example.test/debian trixie main  # the archive
deb [signed-by=/keys/own.gpg,0123456789ABCDEF arch=amd64,arm64 lang+=de] https://own.example.test/x trixie-security main
deb-src https://archive.example.test/debian trixie main
# deb https://off.example.test/debian trixie main
deb https://archive.example.test/debian bookworm main
"""
# Layout of Debian's cloud images.
CLOUD = """\
Types: deb deb-src
URIs: mirror+file://{apt}/mirrors/debian.list
Suites: trixie trixie-updates trixie-backports
Components: main

Types: deb deb-src
URIs: mirror+file://{apt}/mirrors/debian-security.list
Suites: trixie-security
Components: main
"""


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a host's /etc/apt; the host trusts nobody of its own, and its environment names no proxy."""
    folder = tmp_path / "apt"
    for name in ("sources.list.d", "mirrors", "trusted.gpg.d", "keyrings", "auth.conf.d"):
        (folder / name).mkdir(parents=True)
    monkeypatch.setattr(base_image, "_APT", folder)
    monkeypatch.setattr(base_image, "_AUTHORITIES", tmp_path / "authorities")
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    return folder


@pytest.fixture
def cloud(apt: Path) -> Path:
    """Return the /etc/apt of a cloud image."""
    (apt / "sources.list.d/debian.sources").write_text(CLOUD.format(apt=apt))
    (apt / "mirrors/debian.list").write_text("https://archive.example.test/debian\n")
    (apt / "mirrors/debian-security.list").write_text("https://archive.example.test/security\n")
    (apt / "trusted.gpg.d/archive.asc").write_text("key of the archive")
    return apt


def told(text: str, kind: Any = deb822, suite: str = "trixie", own: bool = True) -> list[dict[str, str]]:
    return [found for stanza in kind(text) if (found := of_release(stanza, suite, own))]


def test_stanzas_of_the_release_are_taken_with_their_keys() -> None:
    first, second = told(DEB822.format(key="/keys/archive.gpg"))
    assert first["suites"] == "trixie trixie-updates"
    assert first["types"] == "deb"
    assert first["signed-by"] == "/keys/archive.gpg"
    assert second["suites"] == "trixie-security"


def test_a_key_that_stands_in_the_stanza_stays_there() -> None:
    text = prepared(told(DEB822.format(key="0123"))[1], Files(mounted=True))
    assert "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEYCQjIxYJ/\n -----END" in text


@pytest.mark.parametrize("no", ["no", "No", "false", "0", "off", "without", "disable"])
def test_a_source_that_is_off_stays_off(no: str) -> None:
    assert told(f"Types: deb\nURIs: https://x.example.test\nSuites: trixie\nEnabled: {no}\n") == []
    assert "off.example.test" not in str(told(LINES, one_line))


def test_lines_of_the_release_are_taken_with_their_options() -> None:
    first, second = told(LINES, one_line)
    assert first["components"] == "main"
    assert second["signed-by"] == "/keys/own.gpg 0123456789ABCDEF"
    assert second["architectures"] == "amd64 arm64"
    assert second["languages-add"] == "de"


def test_a_release_the_host_has_not_gets_nothing() -> None:
    assert told(DEB822, suite="forky") == []
    assert told(LINES, one_line, suite="forky") == []


def test_a_moving_name_means_the_release_of_the_host_alone() -> None:
    stanza = "Types: deb\nURIs: https://x.example.test\nSuites: stable stable-security stable-backports\n"
    assert told(stanza)[0]["suites"] == "stable stable-security"
    assert told(stanza, own=False) == []


@pytest.mark.parametrize(
    "uri", ["file:///srv/mirror", "cdrom:[Debian]", "copy:/srv/mirror", "tor+http://x.example.test"]
)
def test_what_no_container_can_reach_is_left_out(uri: str) -> None:
    assert told(f"Types: deb\nURIs: {uri}\nSuites: trixie\n") == []
    both = told(f"Types: deb\nURIs: {uri} https://x.example.test\nSuites: trixie\n")
    assert both[0]["uris"] == "https://x.example.test"


@pytest.mark.parametrize(
    "uri", ["mirror://x.example.test/list", "mirror+http://x.example.test/l", "mirror+https://x/l"]
)
def test_lists_of_mirrors_on_the_network_stay(uri: str) -> None:
    assert f"URIs: {uri}\n" in prepared(told(f"Types: deb\nURIs: {uri}\nSuites: trixie\n")[0], Files(mounted=True))


def test_lists_of_mirrors_on_the_host_come_along(cloud: Path) -> None:
    (cloud / "mirrors/debian.list").write_text("https://one.example.test/debian\tpriority:1\nfile:/srv/mirror\n")
    files = for_apt(apt_sources("trixie", True), {}, {})
    text = files["sources.list.d/host.sources"].decode()
    paths = [line.split("file:")[1] for line in text.splitlines() if line.startswith("URIs: mirror+file:")]
    lists = [files[path.removeprefix(f"{PLACE}/")] for path in paths]
    assert lists == [b"https://one.example.test/debian\tpriority:1\n", b"https://archive.example.test/security\n"]
    assert str(cloud) not in text


def test_a_list_of_mirrors_that_is_missing_is_named(cloud: Path) -> None:
    (cloud / "mirrors/debian-security.list").unlink()
    with pytest.raises(UnusableError, match=r"debian-security\.list: No such file"):
        for_apt(apt_sources("trixie", True), {}, {})


def test_keys_come_along_wherever_they_lie(apt: Path) -> None:
    key = apt / "keyrings/own.asc"
    key.write_text("own key")
    (apt / "sources.list.d/own.list").write_text(f"deb [signed-by={key}] https://x.example.test trixie main\n")
    files = for_apt(apt_sources("trixie", True), {}, {})
    line = next(line for line in files["sources.list.d/host.sources"].decode().splitlines() if "Signed-By" in line)
    copied = line.removeprefix(f"Signed-By: {PLACE}/")
    assert files[copied] == b"own key"
    # How it ends tells apt what is in it.
    assert copied.endswith(".asc")


@pytest.mark.usefixtures("cloud")
def test_keys_that_no_source_names_are_those_of_the_host() -> None:
    files = for_apt(apt_sources("trixie", True), {}, {})
    assert files["trusted.gpg.d/archive.asc"] == b"key of the archive"
    assert f'Dir::Etc::trustedparts "{PLACE}/trusted.gpg.d/";' in files["apt.conf"].decode()


def test_settings_of_the_archive_are_used_and_no_others() -> None:
    dump = """\
Acquire::http::Proxy "http://proxy.example.test:3128";
Acquire::https::own.example.test::CaInfo "/etc/ssl/own.pem";
Acquire::Check-Valid-Until "false";
Acquire::https::Proxy "";
Acquire::IndexTargets::deb::Packages::MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
Acquire::GzipIndexes "true";
Acquire::Snapshots::URI::Host::archive.example.test "https://snapshot.example.test/@SNAPSHOTID@/";
APT::Install-Recommends "1";
DPkg::Post-Invoke:: "rm -f /x";
"""
    assert apt_options(dump) == {
        "Acquire::http::Proxy": "http://proxy.example.test:3128",
        "Acquire::https::own.example.test::CaInfo": "/etc/ssl/own.pem",
        "Acquire::Check-Valid-Until": "false",
    }


def test_a_certificate_that_apt_is_told_of_comes_along(cloud: Path) -> None:
    (cloud / "own.pem").write_text("certificate")
    files = for_apt(apt_sources("trixie", True), {"Acquire::https::CaInfo": str(cloud / "own.pem")}, {})
    line = next(line for line in files["apt.conf"].decode().splitlines() if "CaInfo" in line)
    assert files[line.split('"')[1].removeprefix(f"{PLACE}/")] == b"certificate"


def test_a_program_that_finds_the_proxy_is_asked_on_the_host(cloud: Path) -> None:
    program = cloud / "find-proxy"
    program.write_text("#!/bin/sh\ncase $1 in */security) ;; *) echo http://127.0.0.1:3142 ;; esac\n")
    program.chmod(0o755)

    def run_command(words: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    module: Any = SimpleNamespace(run_command=run_command)
    options = {"Acquire::https::Proxy-Auto-Detect": str(program), "Acquire::http::ProxyAutoDetect": str(program)}
    addresses = [
        "https://one.example.test/debian",
        "http://two.example.test/debian",
        "https://three.example.test/security",
    ]
    found = detected(module, options, addresses)
    assert found == {
        "Acquire::https::Proxy::one.example.test": "http://127.0.0.1:3142",
        "Acquire::http::Proxy::two.example.test": "http://127.0.0.1:3142",
    }
    settings = for_apt(apt_sources("trixie", True), options | found, {})["apt.conf"].decode()
    assert str(program) not in settings
    assert 'Acquire::http::Proxy::two.example.test "http://127.0.0.1:3142";' in settings


@pytest.mark.usefixtures("cloud")
def test_proxies_of_the_environment_reach_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://it's:3128")
    monkeypatch.setenv("HTTP_AUTH", "basic:*:me:secret")
    files = for_apt(apt_sources("trixie", True), {}, environment())
    script = f"{files['environment'].decode()}\necho $http_proxy $HTTP_AUTH $APT_CONFIG"
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True, env={})
    assert done.stdout.split() == ["http://it's:3128", "basic:*:me:secret", f"{PLACE}/apt.conf"]


class TestChecksum:
    def of(self, options: dict[str, str] | None = None, detectors: list[str] | None = None) -> str:
        return checksum(for_apt(apt_sources("trixie", True), options or {}, environment()), detectors or [])

    @pytest.mark.usefixtures("cloud")
    def test_stays_while_nothing_changes(self) -> None:
        assert self.of() == self.of()

    @pytest.mark.parametrize(
        "path",
        ["mirrors/debian.list", "mirrors/debian-security.list", "trusted.gpg.d/archive.asc", "trusted.gpg.d/x.asc"],
    )
    def test_changes_with_what_the_image_is_made_of(self, cloud: Path, path: str) -> None:
        before = self.of()
        (cloud / path).write_text("https://other.example.test/debian\n")
        assert self.of() != before

    def test_changes_with_the_sources_the_proxy_and_the_authorities(self, cloud: Path) -> None:
        seen = {self.of()}
        seen.add(self.of({"Acquire::http::Proxy": "http://proxy.example.test:3128"}))
        base_image._AUTHORITIES.mkdir()
        (base_image._AUTHORITIES / "own.crt").write_text("certificate")
        seen.add(self.of())
        sources = cloud / "sources.list.d/debian.sources"
        sources.write_text(sources.read_text().replace("Components: main", "Components: main non-free-firmware"))
        seen.add(self.of())
        assert len(seen) == 4

    def test_does_not_change_with_a_password(self, cloud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def with_password(password: str) -> str:
            (cloud / "auth.conf.d/own.conf").write_text(f"machine x login me password {password}\n")
            monkeypatch.setenv("HTTP_AUTH", f"basic:*:me:{password}")
            return self.of({"Acquire::http::Proxy": f"http://me:{password}@proxy.example.test"})

        assert with_password("old") == with_password("new")

    @pytest.mark.usefixtures("cloud")
    def test_does_not_change_with_what_a_program_answers(self) -> None:
        one, other = ({"Acquire::http::Proxy::x": f"http://{name}.example.test"} for name in "ab")
        assert self.of(one, ["found by a program"]) == self.of(other, ["found by a program"])
        assert self.of(one, ["found by a program"]) != self.of(one, ["found by another"])


class TestFolder:
    def test_has_what_a_build_needs_and_nothing_else(self, tmp_path: Path) -> None:
        folder = tmp_path / "archive/files"
        assert written(folder, {"a": b"1", "keys/b": b"2"}, [], check=False)
        assert not written(folder, {"a": b"1", "keys/b": b"2"}, [], check=False)
        assert written(folder, {"a": b"3"}, [], check=False)
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["a"]
        assert (folder / "a").read_bytes() == b"3"

    def test_another_answer_of_a_program_is_written_and_no_change(self, tmp_path: Path) -> None:
        one, other = (b'A "b";\nAcquire::http::Proxy::x "http://' + name + b'/";\n' for name in (b"a", b"b"))
        detectors = ["Acquire::http::Proxy-Auto-Detect /usr/bin/found"]
        assert written(tmp_path / "archive", {"apt.conf": one}, detectors, check=False)
        assert not written(tmp_path / "archive", {"apt.conf": other}, detectors, check=False)
        assert (tmp_path / "archive/apt.conf").read_bytes() == other
        assert written(tmp_path / "archive", {"apt.conf": other + b'C "d";\n'}, detectors, check=False)

    def test_is_closed_to_others(self, tmp_path: Path) -> None:
        written(tmp_path / "archive/files", {"auth.conf.d/own.conf": b"password"}, [], check=False)
        assert (tmp_path / "archive").stat().st_mode & 0o777 == 0o700

    def test_is_read_by_every_user_of_a_build(self, tmp_path: Path) -> None:
        previous = os.umask(0o077)
        try:
            written(tmp_path / "archive/files", {"keys/own.gpg": b"key"}, [], check=False)
        finally:
            os.umask(previous)
        modes = [path.stat().st_mode & 0o755 for path in (tmp_path / "archive").rglob("*")]
        assert sorted(modes) == [0o644, 0o755, 0o755]

    def test_is_only_looked_at_in_check_mode(self, tmp_path: Path) -> None:
        assert written(tmp_path / "archive", {"a": b"1"}, [], check=True)
        assert not (tmp_path / "archive").exists()


def test_mmdebstrap_reaches_the_archive_as_the_host_does(cloud: Path, tmp_path: Path) -> None:
    (cloud / "auth.conf.d/own.conf").write_text("machine x login me password secret\n")
    options = {"Acquire::http::Proxy": "http://127.0.0.1:3142"}
    words = debian_command("trixie", apt_sources("trixie", True), options, tmp_path / "root.tar", tmp_path)
    assert '--aptopt=Acquire::http::Proxy "http://127.0.0.1:3142";' in words
    assert f'--aptopt=Dir::Etc::netrcparts "{cloud}/auth.conf.d/";' in words
    assert f"URIs: mirror+file:{cloud}/mirrors/debian.list" in (tmp_path / "host.sources").read_text()
    assert "secret" not in " ".join(words)


def test_the_system_is_unpacked_where_programs_can_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flags = {tmp_path / "noexec": os.ST_NOEXEC, tmp_path / "nodev": os.ST_NODEV, tmp_path: 0}
    (tmp_path / "noexec").mkdir()
    (tmp_path / "nodev").mkdir()
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flags[path]))
    monkeypatch.setattr(base_image, "_WORK", (tmp_path / "noexec", tmp_path / "made/here"))
    assert work_folder() == tmp_path / "made/here"
    assert (tmp_path / "made/here").is_dir()
    monkeypatch.setattr(base_image, "_WORK", (tmp_path / "noexec", tmp_path / "nodev"))
    with pytest.raises(UnusableError, match=r"noexec and .*nodev are mounted noexec or nodev"):
        work_folder()


class TestAlpine:
    @pytest.fixture
    def apk(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        (tmp_path / "keys").mkdir()
        (tmp_path / "keys/own.rsa.pub").write_text("own key")
        (tmp_path / "repositories").write_text(
            "/media/cdrom/apks\n#https://off.example.test/main\nhttps://x.example.test/main\n@edge https://y.example.test\n"
        )
        monkeypatch.setattr(base_image, "_APK", tmp_path)
        monkeypatch.setattr(base_image, "_AUTHORITIES", tmp_path / "authorities")
        return tmp_path

    def test_builds_get_the_host_s_repositories_and_keys(self, apk: Path) -> None:
        files = for_apk({"http_proxy": "http://127.0.0.1:3128"})
        assert files["repositories"] == b"https://x.example.test/main\n@edge https://y.example.test\n"
        assert files["keys/own.rsa.pub"] == b"own key"
        assert files["environment"] == b"export http_proxy='http://127.0.0.1:3128'\n"
        before = checksum(files, [])
        (apk / "keys/own.rsa.pub").write_text("other key")
        assert checksum(for_apk({}), []) != before

    def test_repositories_on_the_host_alone_are_refused(self, apk: Path) -> None:
        (apk / "repositories").write_text("/media/cdrom/apks\n")
        with pytest.raises(UnusableError, match="no repository"):
            for_apk({})

    def test_is_made_of_the_host_s_repositories_with_its_keys(self, apk: Path) -> None:
        install, pack = alpine_commands(Path("/somewhere/root.tar"), Path("/somewhere/root"), apk)
        options = " ".join(install)
        assert "--root /somewhere/root" in options
        assert f"--repositories-file {apk}/repositories" in options
        assert f"--keys-dir {apk}/keys" in options
        assert "--allow-untrusted" not in options
        assert pack == ["tar", "-C", "/somewhere/root", "-cf", "/somewhere/root.tar", "."]

    def test_trusts_whom_the_host_trusts_before_its_list_is_made(self, apk: Path) -> None:
        (apk / "authorities").mkdir()
        make, trust, install, *_ = alpine_commands(Path("/somewhere/root.tar"), Path("/somewhere/root"), apk)
        assert make == ["mkdir", "-p", f"/somewhere/root{apk}"]
        assert trust == ["cp", "-a", f"{apk}/authorities", f"/somewhere/root{apk}"]
        assert install[0] == "apk"
