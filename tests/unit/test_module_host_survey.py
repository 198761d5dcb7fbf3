"""How much room there is below a path, and which time zones a host has."""

from __future__ import annotations

import shutil
from pathlib import Path

from plugins.modules.host_survey import known_timezones, room


def test_a_path_that_is_not_there_is_told_of_the_folder_above_it(tmp_path: Path) -> None:
    wanted = tmp_path / "srv" / "slipway" / "volumes"
    there, missing = room(str(tmp_path)), room(str(wanted))
    assert missing["path"] == str(wanted)
    assert missing["mount"] == there["mount"]


def test_a_file_system_of_its_own_is_told_with_its_own_room() -> None:
    found = room("/dev/shm/not-there")
    assert found["mount"] == "/dev/shm"
    assert abs(int(str(found["free_mb"])) - (shutil.disk_usage("/dev/shm").free >> 20)) <= 64


def test_a_link_leads_to_where_the_data_lies(tmp_path: Path) -> None:
    (tmp_path / "docker").symlink_to("/dev/shm")
    assert room(str(tmp_path / "docker"))["mount"] == "/dev/shm"


def test_a_region_is_no_time_zone(tmp_path: Path) -> None:
    """It is a folder."""
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe/Berlin").touch()
    assert known_timezones(tmp_path, ["Europe/Berlin"]) is None
    (tmp_path / "tzdata.zi").touch()
    assert known_timezones(tmp_path, ["Europe/Berlin", "Europe", "US/Pacific"]) == ["Europe/Berlin"]
