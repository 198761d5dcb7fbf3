"""Filter of the roles: which of a role's files of variables are a host's."""

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
"""


def rungs(platform: dict[str, Any] | str) -> list[str]:
    """Return the names by which a platform is known, from the least to the most specific, each once."""
    if isinstance(platform, str):
        family, _, version = platform.partition("-")
        distribution = family
        major = version.partition(".")[0]
    else:
        family, distribution = str(platform["os_family"]), str(platform["distribution"])
        major = str(platform["distribution_major_version"])
        # Of Alpine's three numbers the first two are a release, of Debian's and Ubuntu's all there are.
        version = ".".join(str(platform["distribution_version"]).split(".")[:2])
    return list(dict.fromkeys([family, distribution, f"{distribution}-{major}", f"{distribution}-{version}"]))


def platform_files(platform: dict[str, Any] | str, folder: str, *more: str) -> list[str]:
    """Return the paths of the files in ``folder``; ``more`` is what is loaded over the platform's."""
    paths = (Path(folder) / f"{name}.yml" for name in [*rungs(platform), *more])
    return [str(path) for path in paths if path.is_file()]


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"platform_files": platform_files}
