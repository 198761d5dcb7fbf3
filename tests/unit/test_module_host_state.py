"""What is noted on a host, and who listens on which port, read from files made here and from this machine's own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from plugins.modules.host_state import CHANGE, GROUPS, PROVIDER, listening, noted, wanted

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(port: int, inode: int, state: str = "0A") -> str:
    return f"   0: 00000000:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(HEAD + row(443, 11) + row(80, 12) + row(22, 13, state="01") + row(53, 14))
    for pid, name, inodes in ((7, "nginx", (11, 12)), (8, "nginx", (11,)), (9, "python3", (12,))):
        folder = tmp_path / str(pid) / "fd"
        folder.mkdir(parents=True)
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
        (folder / "0").symlink_to("/dev/null")
        for number, inode in enumerate(inodes, 3):
            (folder / str(number)).symlink_to(f"socket:[{inode}]")
    # One that ended while it was looked at.
    (tmp_path / "10" / "fd").mkdir(parents=True)
    (tmp_path / "10" / "fd" / "3").symlink_to("socket:[14]")
    return tmp_path


def test_each_port_is_told_with_each_program_once(proc: Path) -> None:
    assert listening(proc) == [
        {"port": 53, "name": ""},
        {"port": 80, "name": "nginx"},
        {"port": 80, "name": "python3"},
        {"port": 443, "name": "nginx"},
    ]


def test_both_protocols_are_read(proc: Path) -> None:
    (proc / "net" / "tcp6").write_text(HEAD + row(8443, 21))
    assert {"port": 8443, "name": ""} in listening(proc)


def test_it_sees_a_socket_of_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        name = Path(f"/proc/{os.getpid()}/comm").read_text().strip()
        assert {"port": server.getsockname()[1], "name": name} in listening(Path("/proc"))


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_a_new_host_has_nothing_noted(tmp_path: Path) -> None:
    assert noted(tmp_path, ["web"]) == {"provider": "", "groups": [], "changing": False}


def test_a_host_from_before_groups_were_noted_has_all_of_them(tmp_path: Path) -> None:
    put(tmp_path / PROVIDER, "compose\n")
    assert noted(tmp_path, ["web", "php"])["groups"] == ["web", "php"]
    put(tmp_path / GROUPS, "static\nweb\n")
    assert noted(tmp_path, ["web", "php"])["groups"] == ["static", "web"]


def test_a_change_that_was_cut_is_seen(tmp_path: Path) -> None:
    (tmp_path / CHANGE).mkdir(parents=True)
    assert noted(tmp_path, [])["changing"]


def test_groups_that_were_noted_stay_noted(tmp_path: Path) -> None:
    put(tmp_path / GROUPS, "static\nweb\n")
    assert wanted(tmp_path, "native", ["web", "ftp"]) == {
        tmp_path / PROVIDER: "native\n",
        tmp_path / GROUPS: "ftp\nstatic\nweb\n",
    }
