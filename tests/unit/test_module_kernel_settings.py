"""Which settings of the kernel are written, left out and refused, below a folder that stands in for /proc/sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.modules.kernel_settings import MISSING, READ_ONLY, SHARED, bring, path_of
from tests.repository import ROOT, load


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a kernel with a few settings."""
    for key, value in {
        "kernel.sysrq": "438",
        "net.ipv4.tcp_syncookies": "1",
        "net.ipv4.tcp_rfc1337": "0",
        "net.ipv4.tcp_rmem": "4096\t131072\t6291456",
    }.items():
        path = path_of(key, tmp_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return tmp_path


def text(root: Path, key: str) -> str:
    return path_of(key, root).read_text()


def test_only_what_differs_is_written(root: Path) -> None:
    untouched = path_of("net.ipv4.tcp_syncookies", root)
    untouched.chmod(0o444)
    before = untouched.stat().st_mtime_ns
    outcome = bring({"net.ipv4.tcp_syncookies": 1, "net.ipv4.tcp_rfc1337": 1}, container=False, check=False, root=root)
    assert outcome.before == {"net.ipv4.tcp_rfc1337": "0"}
    assert text(root, "net.ipv4.tcp_rfc1337") == "1\n"
    assert untouched.stat().st_mtime_ns == before
    again = bring(outcome.settings, container=False, check=False, root=root)
    assert (again.before, again.settings) == ({}, outcome.settings)


def test_the_kernel_s_tabs_are_no_difference(root: Path) -> None:
    outcome = bring({"net.ipv4.tcp_rmem": " 4096  131072 6291456"}, container=False, check=False, root=root)
    assert outcome.before == {}
    assert outcome.settings == {"net.ipv4.tcp_rmem": "4096 131072 6291456"}


def test_what_is_stricter_until_the_next_boot_is_strict_enough(root: Path) -> None:
    """The kernel takes no other value then, and would refuse it in each run."""
    path = path_of("kernel.yama.ptrace_scope", root)
    path.parent.mkdir(parents=True)
    path.write_text("3\n")
    outcome = bring({"kernel.yama.ptrace_scope": 2}, container=False, check=False, root=root)
    assert (outcome.before, outcome.refused) == ({}, [])
    assert outcome.settings == {"kernel.yama.ptrace_scope": "2"}
    assert path.read_text() == "3\n"


def test_check_mode_tells_and_writes_nothing(root: Path) -> None:
    outcome = bring({"kernel.sysrq": 0}, container=False, check=True, root=root)
    assert outcome.before == {"kernel.sysrq": "438"}
    assert text(root, "kernel.sysrq") == "438\n"


def test_what_the_kernel_does_not_have_is_left_out(root: Path) -> None:
    outcome = bring({"kernel.yama.ptrace_scope": 2, "kernel.sysrq": 0}, container=False, check=False, root=root)
    assert outcome.left_out == {MISSING: ["kernel.yama.ptrace_scope"]}
    assert outcome.settings == {"kernel.sysrq": "0"}
    assert not outcome.refused


def test_a_container_writes_settings_of_the_network_alone(root: Path) -> None:
    outcome = bring({"kernel.sysrq": 0, "net.ipv4.tcp_rfc1337": 1}, container=True, check=False, root=root)
    assert outcome.left_out == {SHARED: ["kernel.sysrq"]}
    assert text(root, "kernel.sysrq") == "438\n"
    assert text(root, "net.ipv4.tcp_rfc1337") == "1\n"


def test_a_container_that_may_not_write_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where /proc/sys is mounted read-only, which root can't write to either."""
    monkeypatch.setattr("os.access", lambda *_: False)
    outcome = bring({"net.ipv4.tcp_rfc1337": 1}, container=True, check=False, root=root)
    assert (outcome.left_out, outcome.refused) == ({READ_ONLY: ["net.ipv4.tcp_rfc1337"]}, [])


def test_a_host_whose_kernel_refuses_a_value_names_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(Path, "write_text", refuse)
    outcome = bring({"kernel.sysrq": "many"}, container=False, check=False, root=root)
    assert outcome.refused == ["kernel.sysrq: the kernel refuses 'many' (Invalid argument)"]


def test_a_value_that_the_kernel_did_not_take_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a change in each run."""
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: 0)
    outcome = bring({"kernel.sysrq": 0}, container=False, check=False, root=root)
    assert outcome.refused == ["kernel.sysrq: the kernel has '438' after '0' was written"]


def test_an_interface_may_have_a_dot_in_its_name() -> None:
    assert path_of("net.ipv4.conf.eth0/100.rp_filter") == Path("/proc/sys/net/ipv4/conf/eth0.100/rp_filter")


def test_every_setting_of_the_role_is_one_of_this_or_another_kernel() -> None:
    """A name with a typing error would be left out everywhere, and nobody would notice."""
    common = load(ROOT / "roles/host_kernel/vars/main.yml")["__host_kernel_common"]
    missing = [key for key in common if not path_of(key).exists()]
    # Kernels may be built without these, and a container's network has no part in the second.
    assert set(missing) <= {
        "kernel.yama.ptrace_scope",
        "net.core.bpf_jit_harden",
        "kernel.unprivileged_bpf_disabled",
        "kernel.kexec_load_disabled",
        "kernel.sysrq",
    }
    assert len(missing) < len(common) / 2
