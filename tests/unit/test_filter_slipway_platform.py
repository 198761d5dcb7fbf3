"""Which files of variables are a host's, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugins.filter.slipway_platform import contained, platform_files, rungs


def facts(family: str, distribution: str, major: str, version: str) -> dict[str, Any]:
    return {
        "os_family": family,
        "distribution": distribution,
        "distribution_major_version": major,
        "distribution_version": version,
    }


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        (facts("Debian", "Debian", "13", "13.5"), ["Debian", "Debian-13", "Debian-13.5"]),
        (facts("Debian", "Ubuntu", "24", "24.04"), ["Debian", "Ubuntu", "Ubuntu-24", "Ubuntu-24.04"]),
        (facts("Alpine", "Alpine", "3", "3.22.1"), ["Alpine", "Alpine-3", "Alpine-3.22"]),
        (facts("RedHat", "Rocky", "9", "9.4"), ["RedHat", "Rocky", "Rocky-9", "Rocky-9.4"]),
        # Debian's testing release has no version.
        (facts("Debian", "Debian", "forky", "forky"), ["Debian", "Debian-forky"]),
        ({"os_family": "Debian", "distribution_major_version": "13"}, ["Debian", "Debian-13"]),
        ({"os_family": "Alpine"}, ["Alpine"]),
        ({}, []),
        ("Debian", ["Debian"]),
        ("Debian-13", ["Debian", "Debian-13"]),
        ("Alpine-3.22", ["Alpine", "Alpine-3", "Alpine-3.22"]),
    ],
)
def test_a_platform_is_known_from_the_least_to_the_most_specific(platform: Any, expected: list[str]) -> None:
    assert rungs(platform) == expected


def test_what_is_there_is_loaded_and_what_is_given_further_comes_last(tmp_path: Path) -> None:
    for name in ("Debian", "Debian-12", "Debian-13", "Alpine", "Alpine-13", "native", "compose", "main"):
        (tmp_path / f"{name}.yml").touch()
    (tmp_path / "Debian-13.5.yml").mkdir()
    platform = facts("Debian", "Debian", "13", "13.5")
    paths = platform_files(platform, str(tmp_path), "native", "nothing-of-this-name")
    assert [Path(path).name for path in paths] == ["Debian.yml", "Debian-13.yml", "native.yml"]
    assert platform_files(facts("Suse", "Leap", "15", "15.6"), str(tmp_path)) == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"virtualization_type": "docker", "virtualization_role": "guest"}, True),
        ({"virtualization_type": "lxc"}, True),
        # It runs some.
        ({"virtualization_type": "docker", "virtualization_role": "host"}, False),
        ({"virtualization_type": "kvm", "virtualization_role": "guest"}, False),
        ({}, False),
    ],
)
def test_a_container_is_told_from_a_machine(facts: dict[str, Any], expected: bool) -> None:
    assert contained(facts) is expected
