"""The parts of the lab that need no engine: what it reads, chooses and writes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from lab import __main__ as program
from lab import archive, cache, files, images, inventory, network, platforms, ssh, targets, wordpress
from lab.archive import Archive, Source
from lab.base import LabError, run, wait_for
from lab.targets import Target
from tests.repository import ROOT

BIN = Path(sys.executable).parent

DEB822 = """\
Types: deb
# a comment in a stanza
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites:
 bookworm-security
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: trixie
"""


class TestSources:
    def test_reads_deb822(self) -> None:
        assert archive.parse_deb822(DEB822) == [
            Source("http://mirror.example/debian", ("bookworm", "bookworm-updates")),
            Source("http://mirror.example/debian-security", ("bookworm-security",)),
        ]

    def test_reads_one_line(self) -> None:
        text = (
            "# deb http://old.example/debian sid main\n"
            "deb [arch=amd64 signed-by=/k] http://mirror.example/debian trixie main\n"
            "deb-src http://mirror.example/debian trixie main\n"
        )
        assert archive.parse_one_line(text) == [Source("http://mirror.example/debian", ("trixie",))]

    def test_chooses_main_and_security(self) -> None:
        assert archive.choose(archive.parse_deb822(DEB822)) == Archive(
            "http://mirror.example/debian", "http://mirror.example/debian-security"
        )

    def test_vendor_sources_are_no_debian(self) -> None:
        assert archive.choose([Source("http://vendor.example", ("nodistro",)), Source("http://u", ("noble",))]) is None

    def test_backports_are_no_release(self) -> None:
        assert archive.choose([Source("http://b", ("bookworm-backports",))]) is None

    def test_reads_a_machine(self, tmp_path: Path) -> None:
        folder = tmp_path / "sources.list.d"
        folder.mkdir()
        (folder / "debian.sources").write_text(DEB822)
        (tmp_path / "sources.list").write_text("deb http://other.example/debian trixie main\n")
        found = archive.of_this_machine(tmp_path)
        assert found is not None
        assert found.main == "http://mirror.example/debian"

    def test_a_machine_without_sources(self, tmp_path: Path) -> None:
        assert archive.of_this_machine(tmp_path) is None

    def test_writes_what_it_reads(self) -> None:
        written = Archive("http://m/debian", "http://m/debian-security").sources("trixie")
        assert archive.parse_deb822(written) == [
            Source("http://m/debian", ("trixie", "trixie-updates")),
            Source("http://m/debian-security", ("trixie-security",)),
        ]

    def test_inherits_only_what_a_target_can_use(self) -> None:
        dump = (
            'Acquire::Check-Date "false";\nAcquire::http::Proxy "http://127.0.0.1:3142";\n'
            'Acquire::https::Proxy "http://proxy.example:8080";\nDir::Cache "var/cache";\n'
            'Acquire::http::Proxy "";\n'
        )
        assert archive.parse_options(dump) == [
            'Acquire::Check-Date "false";',
            'Acquire::https::Proxy "http://proxy.example:8080";',
        ]


class TestNetwork:
    def test_takes_the_first_free_network(self) -> None:
        assert network.free_subnet(["10.211.0.0/24", "10.212.0.7", "172.17.0.0/16"]) == "10.213.0.0/24"

    def test_says_when_all_are_taken(self) -> None:
        with pytest.raises(LabError, match="no free network"):
            network.free_subnet(["10.0.0.0/8"])

    def test_takes_the_first_free_address(self) -> None:
        assert network.free_host("10.211.0.0/24", ["10.211.0.10", "10.211.0.12"]) == "10.211.0.11"

    def test_gives_ipv6_by_the_address_of_ipv4(self) -> None:
        assert network.subnet_ipv6("10.213.0.0/24") == "fd53:6c61:ad5:0::/64"
        assert network.host_ipv6("10.213.0.11") == "fd53:6c61:ad5::b"

    def test_says_when_no_address_is_left(self) -> None:
        taken = [f"10.211.0.{number}" for number in range(256)]
        with pytest.raises(LabError, match="no address"):
            network.free_host("10.211.0.0/24", taken)

    def test_reads_routes(self) -> None:
        text = (
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
            "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
            "br\t0000D30A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        )
        assert network.parse_routes(text) == ["10.211.0.0/24"]

    def test_resolvers_of_the_loopback_are_out_of_reach(self) -> None:
        stub = "nameserver 127.0.0.53\noptions edns0\n"
        real = "# systemd\nnameserver fe80::1\nnameserver 192.0.2.53\n"
        assert network.parse_nameservers(stub, real) == ["192.0.2.53"]
        assert network.parse_nameservers(stub) == []


class TestSsh:
    def test_pins_and_forgets(self) -> None:
        text = ssh.pinned("192.0.2.1 ssh-ed25519 AAA\n192.0.2.10 ssh-ed25519 BBB\n", "192.0.2.1", "ssh-ed25519 CCC me")
        assert text == "192.0.2.10 ssh-ed25519 BBB\n192.0.2.1 ssh-ed25519 CCC\n"
        assert ssh.pinned(text, "192.0.2.1", None) == "192.0.2.10 ssh-ed25519 BBB\n"

    def test_never_trusts_an_unknown_host(self) -> None:
        words = ssh.command("192.0.2.1", "true")
        assert "StrictHostKeyChecking=yes" in words
        assert f"UserKnownHostsFile={ssh.KNOWN_HOSTS}" in words


class TestInventory:
    hosts = [  # noqa: RUF012 - read only
        (Target("web1", "debian13-systemd", "192.0.2.1", ("web", "php")), {"ansible_host": "192.0.2.1"}),
        (Target("db1", "debian13-systemd", "192.0.2.2", ("database",)), {"ansible_host": "192.0.2.2"}),
    ]

    def test_places_hosts_in_their_groups(self) -> None:
        built = inventory.build(self.hosts, {})["all"]
        assert {group: list(data["hosts"]) for group, data in built["children"].items()} == {
            "web": ["web1"],
            "php": ["web1"],
            "database": ["db1"],
        }

    def test_places_a_host_that_does_everything_as_the_readme_does(self) -> None:
        host = Target("vm1", "debian13-systemd", "192.0.2.1", inventory.GROUPS)
        built = inventory.build([(host, {})], {})["all"]
        assert {group: list(data["hosts"]) for group, data in built["children"].items()} == {"slipway": ["vm1"]}

    def test_variables_beat_those_of_the_groups(self) -> None:
        built = inventory.build(self.hosts, {"slipway_provider": "native"})["all"]
        assert [host["slipway_provider"] for host in built["hosts"].values()] == ["native", "native"]

    def test_versions_stay_text(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keep_in(tmp_path, monkeypatch)
        monkeypatch.setattr(targets, "known", lambda: [target for target, _ in self.hosts])
        inventory.write({"php_fpm_wordpress_version": "6.8"})
        read = yaml.safe_load((tmp_path / "lab/hosts.yml").read_text())
        assert read["all"]["hosts"]["web1"]["php_fpm_wordpress_version"] == "6.8"
        assert inventory.variables()["php_fpm_wordpress_version"] == "6.8"

    def test_has_the_sites_of_the_users_inventory_and_a_state_of_its_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.keep_in(tmp_path, monkeypatch)
        assert program.main(["env"]) == 1
        monkeypatch.setattr(targets, "known", lambda: [target for target, _ in self.hosts])
        inventory.write({})
        capsys.readouterr()
        assert program.main(["env"]) == 0
        found = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
        assert found == {
            "SLIPWAY_INVENTORY": str(tmp_path / "lab"),
            "SLIPWAY_SUMMARY": str(ROOT / ".slipway/lab/state/summary.json"),
        }
        command = (BIN / "ansible-inventory", "-i", tmp_path / "lab", "--host", "web1")
        host = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
        assert host["slipway_state_dir"] == str(ROOT / ".slipway/lab/state")
        assert [site["name"] for site in host["slipway_sites"]] == ["blog", "journal", "docs", "manual"]

    def test_goes_with_the_last_target(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keep_in(tmp_path, monkeypatch)
        (tmp_path / "lab").mkdir()
        (tmp_path / "lab/hosts.yml").write_text("---\n")
        alone = Target("other", "debian13-systemd", "192.0.2.9", None)
        monkeypatch.setattr(targets, "known", lambda: [alone])
        inventory.write({})
        assert not (tmp_path / "lab").exists()

    @staticmethod
    def keep_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inventory, "FOLDER", folder / "lab")
        monkeypatch.setattr(inventory, "PATH", folder / "lab/hosts.yml")


class TestTargets:
    def test_remembers_what_it_made(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(targets, "FOLDER", tmp_path)
        made = [Target("a", "debian-openrc", "192.0.2.1"), Target("b", "alpine", "192.0.2.2", ("web",))]
        for target in made:
            targets._write(target)
        assert targets.known() == made
        assert targets.find("b") == made[1]
        assert targets.find("c") is None

    @pytest.mark.parametrize("name", ["", "Web", "a_b", "-a", "cache", "files", "a/b", "a" * 60])
    def test_refuses_names_before_it_starts_anything(self, name: str) -> None:
        with pytest.raises(LabError, match="no name for a target"):
            targets.create(name)


class TestPlatforms:
    def test_knows_short_spellings(self) -> None:
        assert platforms.find("debian-systemd").name == "debian13-systemd"
        assert {"debian13-systemd", "debian12-systemd", "debian-openrc", "alpine"} <= set(platforms.PLATFORMS)

    def test_names_what_there_is(self) -> None:
        with pytest.raises(LabError, match=r"unknown platform 'amiga'; there are: .*debian-openrc"):
            platforms.find("amiga")

    def test_systemd_accepts_old_control_groups(self) -> None:
        assert "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1" in platforms.systemd_command(1)
        assert platforms.systemd_command(2) == ["/lib/systemd/systemd"]

    @pytest.mark.parametrize(
        "script",
        [platforms.INIT, *platforms.OPENRC_LIMITED.values(), cache.SCRIPT, files.SCRIPT, wordpress.SCRIPT],
        ids=["init", "limited", "cache", "files", "wordpress"],
    )
    def test_scripts_are_shell(self, script: str) -> None:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


class TestImages:
    def test_a_name_stands_for_all_that_goes_in(self) -> None:
        assert images.digest("base", {"a": "1"}) == images.digest("base", {"a": "1"})
        assert images.digest("base", {"a": "1"}) != images.digest("base", {"a": "2"})


class TestCache:
    def test_goes_through_the_machines_proxy(self) -> None:
        text = cache.config(['Acquire::http::Proxy "http://proxy.example:8080";'])
        assert "\nProxy: http://proxy.example:8080\n" in text
        assert "Proxy:" not in cache.config([])


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(files, "FOLDER", tmp_path / "served")
        monkeypatch.setattr(files, "ensure", lambda: "http://192.0.2.4")
        return tmp_path / "served"

    def test_serves_what_it_is_given(self, folder: Path) -> None:
        served = files.put("more/pack.zip", b"a pack")
        assert (folder / "more" / "pack.zip").read_bytes() == b"a pack"
        assert served.url == "http://192.0.2.4/more/pack.zip"
        assert served.checksum == f"sha256:{hashlib.sha256(b'a pack').hexdigest()}"

    @pytest.mark.usefixtures("folder")
    def test_serves_nothing_from_elsewhere(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("a secret")
        with pytest.raises(ValueError, match="secret"):
            files.publish(tmp_path / "secret")

    def test_packs_a_folder_the_same_each_time(self, folder: Path, tmp_path: Path) -> None:
        site = tmp_path / "site"
        (site / "more").mkdir(parents=True)
        (site / "more" / "page.html").write_text("a page")
        first = files.packed(site)
        (site / "more" / "page.html").touch()
        assert files.packed(site) == first
        with tarfile.open(folder / "site.tar.gz") as tar:
            assert tar.getnames() == ["more", "more/page.html"]

    def test_targets_fetch_wordpress_by_http(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "wordpress-7.1.3.tar.gz").write_bytes(b"an archive")
        found = wordpress.WordPress("7.1.3", folder / "wordpress-7.1.3.tar.gz").variables()
        assert found["php_fpm_wordpress_url"] == "http://192.0.2.4/wordpress-7.1.3.tar.gz"
        assert found["php_fpm_wordpress_checksum"] == f"sha256:{hashlib.sha256(b'an archive').hexdigest()}"


class TestWordPress:
    def test_reads_what_the_role_pins(self) -> None:
        version, url = wordpress.pinned(wordpress.DEFAULTS.read_text())
        assert version in url
        assert "{" not in url

    def test_takes_the_newest_of_a_series(self) -> None:
        names = ["wordpress-7.1.9.tar.gz", "wordpress-7.1.10.tar.gz", "wordpress-7.10.tar.gz", "wordpress-7.1.tar.gz"]
        assert wordpress.newest(names, "7.1") == "wordpress-7.1.10.tar.gz"
        assert wordpress.newest(names, "6.8") is None


class TestProgram:
    def test_up_takes_all_groups_by_default(self) -> None:
        given = program.parser().parse_args(["up"])
        assert tuple(given.groups.split(",")) == inventory.GROUPS
        assert given.provider is None

    def test_status_of_no_target_fails_quietly(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(targets, "FOLDER", tmp_path)
        assert program.main(["status", "--quiet"]) == 1
        assert capsys.readouterr().out == ""

    def test_errors_are_one_line(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(program, "LOCK", tmp_path / "lock")
        assert program.main(["up", "--groups", "web,nonsense"]) == 1


class TestBase:
    def test_a_failure_carries_the_last_line(self) -> None:
        with pytest.raises(LabError, match=r"sh -c .* failed \(3\): two"):
            run("sh", "-c", "echo one >&2; echo two >&2; exit 3")

    def test_a_missing_program_is_named(self) -> None:
        with pytest.raises(LabError, match="no-such-program is not installed"):
            run("no-such-program")

    def test_waiting_ends(self) -> None:
        with pytest.raises(LabError, match="the moon did not happen within 0 s"):
            wait_for("the moon", lambda: False, timeout=0.01, pause=0.001)
