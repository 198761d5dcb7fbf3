"""What a host waits for after updates, from folders as updates leave them."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from plugins.modules.update_state import newer_kernel, off, outdated, reasons


def kernels(root: Path, *names: str) -> Path:
    """Have kernels installed; return the folder of their modules."""
    for name in names:
        (root / "lib/modules" / name).mkdir(parents=True)
        (root / "lib/modules" / name / "modules.dep").touch()
    return root / "lib/modules"


@pytest.mark.parametrize(
    ("installed", "running", "newer"),
    [
        # Debian keeps the kernel of before, whose text is the greater one.
        (["6.12.9+deb13-amd64", "6.12.48+deb13-amd64"], "6.12.9+deb13-amd64", "6.12.48+deb13-amd64"),
        (["6.12.9+deb13-amd64", "6.12.48+deb13-amd64"], "6.12.48+deb13-amd64", ""),
        (["6.1.0-37-cloud-amd64", "6.1.0-40-cloud-amd64"], "6.1.0-37-cloud-amd64", "6.1.0-40-cloud-amd64"),
        # Another flavour is installed beside it.
        (["6.1.0-37-cloud-amd64", "6.1.0-40-amd64"], "6.1.0-37-cloud-amd64", ""),
        # Alpine's goes with its update.
        (["6.18.3-0-virt"], "6.12.57-0-virt", "6.18.3-0-virt"),
        (["6.18.3-0-virt"], "6.18.3-0-virt", ""),
        # The kernel is not the system's own.
        ([], "6.18.44", ""),
        (["6.12.48+deb13-amd64"], "6.18.44-other", ""),
    ],
)
def test_a_newer_kernel_waits_for_a_reboot(tmp_path: Path, installed: list[str], running: str, newer: str) -> None:
    modules = kernels(tmp_path, *installed)
    # What a removed kernel leaves there.
    (tmp_path / "lib/modules/6.99.0+deb13-amd64").mkdir(parents=True)
    assert newer_kernel(modules, running) == newer
    assert bool(reasons(tmp_path, running, container=False)) == bool(newer)


def test_a_container_does_not_wait_for_a_kernel(tmp_path: Path) -> None:
    kernels(tmp_path, "6.18.3-0-virt")
    assert reasons(tmp_path, "6.12.57-0-virt", container=False)
    assert not reasons(tmp_path, "6.12.57-0-virt", container=True)


def test_packages_that_ask_for_a_reboot_are_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").touch()
    assert reasons(tmp_path, "6.18.44", container=False) == ["the packages ask for it"]
    (tmp_path / "run/reboot-required.pkgs").write_text("libc6\ndbus\nlibc6\n")
    assert reasons(tmp_path, "6.18.44", container=True) == ["updated: dbus, libc6"]


def test_a_program_whose_files_were_replaced_is_outdated(tmp_path: Path) -> None:
    """By a real program, and by what the kernel says of others."""
    maps = "7f00-7f01 {} 00000000 08:01 42 {}\n"
    for pid, name, rights, path in (
        ("1", "old", "r-xp", "/usr/lib/libssl.so.3 (deleted)"),
        ("2", "data", "r--p", "/usr/lib/locale/C.utf8 (deleted)"),
        ("3", "own", "r-xp", "/tmp/jit (deleted)"),
        ("4", "new", "r-xp", "/usr/lib/libssl.so.3"),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "maps").write_text(maps.format(rights, path))
        (tmp_path / pid / "comm").write_text(f"{name}\n")
    assert outdated(tmp_path) == ["old"]


def test_a_running_program_that_is_gone_is_seen_in_proc() -> None:
    folder = Path("/usr/lib/slipway-outdated-test")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("only root can put a program where packages have theirs")
    try:
        shutil.copy(shutil.which("sleep") or "", folder / "slipwayold")
        with subprocess.Popen([str(folder / "slipwayold"), "60"]) as running:
            try:
                limit = time.monotonic() + 10
                while Path(f"/proc/{running.pid}/comm").read_text().strip() != "slipwayold":
                    assert time.monotonic() < limit
                assert "slipwayold" not in outdated(Path("/proc"))
                (folder / "slipwayold").unlink()
                assert "slipwayold" in outdated(Path("/proc"))
            finally:
                running.kill()
    finally:
        shutil.rmtree(folder)


def test_a_timer_is_on_if_it_is_enabled_and_active() -> None:
    answers = {("is-active", "a.timer"), ("is-enabled", "a.timer"), ("is-active", "b.timer"), ("is-enabled", "c.timer")}
    assert off("systemd", ["a.timer", "b.timer", "c.timer"], lambda *words: words[1:] in answers) == [
        "b.timer",
        "c.timer",
    ]
