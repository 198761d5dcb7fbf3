"""Where Debian's packages come from on this machine: read from its own apt configuration.

The lab names no mirror. It looks for any apt source of this machine that serves a Debian release, takes its address and
asks it for the releases it needs. Releases are signed with the keys of the release before as well, so a machine that is
one release behind trusts them already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.base import run

APT = Path("/etc/apt")
# Releases of Debian, by codename, and the names that move from one to the next.
RELEASES = (
    *("bullseye", "bookworm", "trixie", "forky", "duke", "sid"),
    *("oldstable", "stable", "testing", "unstable"),
)
# Where the package debian-archive-keyring of all releases in question puts its keys.
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# Settings of this machine's apt that decide whether and how the archive can be used.
INHERITED = (
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
)


@dataclass(frozen=True)
class Source:
    """One apt source: an address and the suites it is asked for."""

    uri: str
    suites: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """Addresses of Debian's archive as this machine reaches it; ``security`` may be unknown."""

    main: str
    security: str | None

    def sources(self, release: str) -> str:
        """Return the deb822 file for ``release``, a codename."""
        stanzas = [(self.main, f"{release} {release}-updates")]
        if self.security:
            stanzas.append((self.security, f"{release}-security"))
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n"
            for uri, suites in stanzas
        )


def parse_one_line(text: str) -> list[Source]:
    """Return the binary sources of a ``sources.list`` file."""
    found = re.findall(r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE)
    return [Source(uri.rstrip("/"), (suite,)) for uri, suite in found]


def parse_deb822(text: str) -> list[Source]:
    """Return the enabled binary sources of a ``.sources`` file (format: sources.list(5))."""
    sources = []
    text = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    for stanza in re.split(r"\n\s*\n", text):
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        fields = {
            name.lower(): value.split()
            for name, value in re.findall(r"^([A-Za-z0-9-]+):[ \t]*(.*)$", unfolded, re.MULTILINE)
        }
        if "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
            continue
        suites = tuple(fields.get("suites", []))
        sources += [Source(uri.rstrip("/"), suites) for uri in fields.get("uris", [])]
    return sources


def choose(sources: Iterable[Source]) -> Archive | None:
    """Return the archive these sources lead to, or None if none of them is Debian's."""
    main = security = None
    for source in sources:
        for suite in source.suites:
            release, _, rest = suite.partition("-")
            if release not in RELEASES:
                continue
            if rest in {"", "updates"}:
                main = main or source.uri
            elif rest == "security":
                security = security or source.uri
    return Archive(main, security) if main else None


def of_this_machine(apt: Path = APT) -> Archive | None:
    """Return Debian's archive as this machine's apt is configured, or None."""
    sources: list[Source] = []
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        sources += parse_deb822(path.read_text())
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]:
        if path.is_file():
            sources += parse_one_line(path.read_text())
    return choose(sources)


def parse_options(dump: str) -> list[str]:
    """Return the lines of ``apt-config dump`` that a target inherits.

    A proxy on this machine's loopback is out of a target's reach, so it is left out.
    """
    return [
        line
        for line in dump.splitlines()
        if line.split(" ")[0] in INHERITED and not line.endswith(' "";') and not re.search(r"//(localhost|127\.)", line)
    ]


def options() -> list[str]:
    """Return the lines for a target's apt.conf that this machine's own configuration asks for."""
    return parse_options(run("apt-config", "dump"))
