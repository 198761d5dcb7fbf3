"""What the last run made: .slipway/summary.json and the folder of secrets it names. The tests know nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import secrecy


@dataclass(frozen=True)
class Site:
    """One site, as the summary tells it. ``host`` is the inventory's name of the host that serves it."""

    name: str
    type: str
    domain: str
    url: str
    address: str
    port: int
    host: str = ""


@dataclass(frozen=True)
class Ssh:
    """How a host is reached; an empty text leaves it to the ssh client's own settings.

    ``become_password`` is the user's, where one becomes root by it alone.
    """

    host: str
    port: int
    user: str
    private_key: str
    known_hosts: str
    name: str = ""
    become_password: str = field(default="", repr=False)


@dataclass(frozen=True)
class Summary:
    """What a run made of one host that serves sites. ``names`` are all host names of each site, by the site's name.

    ``backends`` tell how the hosts of database and cache are reached, where they are others than the sites'.
    ``given`` are the secrets that the inventory gives, by name, as far as they are known here.
    """

    path: Path
    sites: tuple[Site, ...]
    names: dict[str, list[str]]
    ca_certificate: Path
    ssh: Ssh
    backends: dict[str, Ssh]
    secrets_dir: Path
    provider: str
    given: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Keep its secrets out of what is printed, from the start."""
        passwords = [ssh.become_password for ssh in (self.ssh, *self.backends.values())]
        secrecy.learn(*self.secrets().values(), *passwords)

    def of_type(self, kind: str) -> list[Site]:
        """Return the sites of a type, wordpress or static."""
        return [site for site in self.sites if site.type == kind]

    def secret(self, name: str) -> str | None:
        """Return a secret; none where the inventory gives it and it isn't known here."""
        return self.secrets().get(name)

    def made_secrets(self) -> dict[str, str]:
        """Return all secrets that were made, by name."""
        paths = sorted(self.secrets_dir.iterdir()) if self.secrets_dir.is_dir() else []
        return {path.name: path.read_text(encoding="utf-8").strip() for path in paths}

    def secrets(self) -> dict[str, str]:
        """Return all secrets that are known, by name."""
        return {**self.made_secrets(), **self.given}


def _ssh(data: dict[str, Any], access: dict[str, Any]) -> Ssh:
    password = access.get(data.get("name", ""), {}).get("become_password", "")
    return Ssh(**{**data, "port": int(data["port"])}, become_password=password)


def read(path: Path, access: dict[str, Any] | None = None) -> list[Summary]:
    """Read a summary: one for each host that serves sites.

    ``access`` is what :func:`read_access` returned; with it, the hosts that it doesn't know are left out. Raises
    FileNotFoundError, ValueError or KeyError for what isn't a summary.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for host in data["hosts"]:
        if access is not None and host["name"] not in access:
            continue
        ssh = _ssh(host["ssh"], access or {})
        backends = {name: _ssh(one, access or {}) for name, one in host.get("backends", {}).items() if one}
        found.append(
            Summary(
                path=path,
                sites=tuple(Site(**site) for site in data["sites"] if site["host"] == host["name"]),
                names={
                    one["name"]: one["names"] for one in data.get("certificates", []) if one["host"] == host["name"]
                },
                ca_certificate=Path(data["ca_certificate"]),
                ssh=ssh,
                backends={name: one for name, one in backends.items() if one != ssh},
                secrets_dir=Path(data["secrets_dir"]),
                provider=host["provider"],
                given=(access or {}).get(host["name"], {}).get("secrets", {}),
            )
        )
    if not found:
        raise ValueError("no host serves sites")
    return found


def read_access(folder: Path) -> dict[str, Any]:
    """Return what tests/verify.yml notes for the tests, by host, and remove it: nothing of it stays on the disk."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        found[content["host"]] = content
    return found
