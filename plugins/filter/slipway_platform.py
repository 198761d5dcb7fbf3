"""Filters of the roles: which of a role's files of variables are a host's, and whether it is a container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
name: platform_files
short_description: The files of variables that are a host's, from the least to the most specific
description:
  - Of the files C(<name>.yml) of a folder those of the OS family, the distribution, the distribution with its major
    version and the distribution with its version, such as C(Debian), C(Ubuntu), C(Ubuntu-24) and C(Ubuntu-24.04), and
    of what is given further, such as the provider. Files that are not there are left out.
  - In place of facts it takes a platform by name, such as C(Debian-13) or C(Alpine-3.22), which is an image's.
  - C(platform_contained) tells by the facts whether a host is a container, which shares its machine's kernel and clock.
"""


# What Ansible calls containers of any kind.
_CONTAINERS = {"docker", "podman", "lxc", "container", "containerd", "openvz", "systemd-nspawn"}


def rungs(platform: dict[str, Any] | str) -> list[str]:
    """Return the names by which a platform is known, from the least to the most specific, each once."""
    if isinstance(platform, str):
        distribution, _, version = platform.partition("-")
        family = distribution
    else:
        # Of a host that check mode can't look at nothing is known.
        if not platform:
            return []
        family = str(platform["os_family"])
        # Whoever gathers a few facts alone may not have them all.
        distribution = str(platform.get("distribution", family))
        version = str(platform.get("distribution_version", platform.get("distribution_major_version", "")))
    # Of Alpine's three numbers the first two are a release, of Debian's and Ubuntu's all there are.
    major, *more = version.split(".")[:2]
    versions = [".".join([major, *more[:count]]) for count in range(len(more) + 1)] if major else []
    return [*dict.fromkeys([family, distribution]), *(f"{distribution}-{number}" for number in versions)]


def platform_files(platform: dict[str, Any] | str, folder: str, *more: str) -> list[str]:
    """Return the paths of the files in ``folder``; ``more`` is what is loaded over the platform's."""
    paths = (Path(folder) / f"{name}.yml" for name in [*rungs(platform), *more])
    return [str(path) for path in paths if path.is_file()]


def contained(facts: dict[str, Any]) -> bool:
    """Tell whether a host is a container. One that only runs containers is not."""
    return facts.get("virtualization_type", "") in _CONTAINERS and facts.get("virtualization_role", "guest") == "guest"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"platform_contained": contained, "platform_files": platform_files}
