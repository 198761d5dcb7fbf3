"""What the last run made: .slipway/summary.json and the folder of secrets it names. The tests know nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Site:
    """One site, as the summary tells it."""

    name: str
    type: str
    domain: str
    url: str
    address: str
    port: int


@dataclass(frozen=True)
class Ssh:
    """How the target is reached; an empty text leaves it to the ssh client's own settings."""

    host: str
    port: int
    user: str
    private_key: str
    known_hosts: str


@dataclass(frozen=True)
class Summary:
    """The summary of a run. ``names`` are all host names of each site, by the site's name.

    ``backends`` tell how the hosts of database and cache are reached, where they are others than the sites'.
    """

    path: Path
    sites: tuple[Site, ...]
    names: dict[str, list[str]]
    ca_certificate: Path
    ssh: Ssh
    backends: dict[str, Ssh]
    secrets_dir: Path
    provider: str

    def of_type(self, kind: str) -> list[Site]:
        """Return the sites of a type, wordpress or static."""
        return [site for site in self.sites if site.type == kind]

    def secret(self, name: str) -> str | None:
        """Return a secret that was made; none where the inventory gave it, as no file holds it then."""
        path = self.secrets_dir / name
        return path.read_text(encoding="utf-8").strip() if path.is_file() else None

    def secrets(self) -> dict[str, str]:
        """Return all secrets that were made, by name."""
        return {path.name: path.read_text(encoding="utf-8").strip() for path in sorted(self.secrets_dir.iterdir())}


def _ssh(data: dict[str, Any]) -> Ssh:
    return Ssh(**{**data, "port": int(data["port"])})


def read(path: Path) -> Summary:
    """Read a summary; raises FileNotFoundError, ValueError or KeyError for what isn't one."""
    data = json.loads(path.read_text(encoding="utf-8"))
    ssh = _ssh(data["ssh"])
    backends = {name: _ssh(one) for name, one in data.get("backends", {}).items() if one}
    return Summary(
        path=path,
        sites=tuple(Site(**site) for site in data["sites"]),
        names={one["name"]: one["names"] for one in data.get("certificates", [])},
        ca_certificate=Path(data["ca_certificate"]),
        ssh=ssh,
        backends={name: one for name, one in backends.items() if one != ssh},
        secrets_dir=Path(data["secrets_dir"]),
        provider=data["provider"],
    )
