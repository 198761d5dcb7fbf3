"""The package cache that targets and image builds share, so that each package is downloaded once: apt-cacher-ng.

It is left out where it doesn't work for the sources of this machine.
"""

from __future__ import annotations

import re

from lab import archive, images, network
from lab.base import LABEL, PREFIX, ROOT, ROOT_LABEL, STATE, LabError, say, succeeds
from lab.engine import docker
from lab.images import Access

CONTAINER = f"{PREFIX}-cache"
VOLUME = f"{PREFIX}-lab-packages"
PORT = 3142
# Debian release the cache itself runs on.
RELEASE = "trixie"
# Says that the cache did not work here, so that it isn't tried again with each target.
UNUSABLE = STATE / "no-package-cache"

# Debian's own configuration sends all known mirrors to one of its choice; this one leaves each address as it is.
CONFIG = """\
CacheDir: /var/cache/apt-cacher-ng
LogDir: /var/log/apt-cacher-ng
ReportPage:
SocketPath:
Port: {port}
ForeGround: 1
# Mirrors may listen anywhere, and https is passed through, uncached.
AllowUserPorts: 0
PassThroughPattern: .*
{upstream}
"""
SCRIPT = """\
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt-get -qq update
apt-get -qq install -y --no-install-recommends apt-cacher-ng
rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
rm -f /etc/apt-cacher-ng/*.conf
mv /lab.conf /etc/apt-cacher-ng/acng.conf
"""
COMMAND = ("/usr/sbin/apt-cacher-ng", "-c", "/etc/apt-cacher-ng")
# Fails if any index can't be fetched; apt itself would only warn.
TRIAL = "apt-get -qq update --error-on=any"


def config(options: list[str]) -> str:
    """Return the cache's configuration; ``options`` are apt's, for the proxy this machine itself has to use."""
    found = re.search(r'^Acquire::http::Proxy "(.+)";$', "\n".join(options), re.MULTILINE)
    return CONFIG.format(port=PORT, upstream=f"Proxy: {found[1]}" if found else "")


def running() -> bool:
    """Tell whether the cache's container runs."""
    return docker("ps", "-q", "--filter", f"name=^{CONTAINER}$") != ""


def ensure(subnet: str) -> Access:
    """Start the cache on the lab's network unless it runs; return how builds and targets reach packages."""
    address = network.host(subnet, network.CACHE_HOST)
    access = Access(network.NAME, f"http://{address}:{PORT}")
    if running():
        return access
    direct = Access(network.NAME, None)
    if UNUSABLE.exists():
        return direct
    try:
        _start(address, direct)
        _try(access)
    except LabError as error:
        say(f"going on without a package cache: {error}")
        docker("rm", "--force", "--volumes", CONTAINER, check=False)
        UNUSABLE.touch()
        return direct
    return access


def _start(address: str, direct: Access) -> None:
    base = images.debian(RELEASE)
    options = archive.options() if archive.of_this_machine() else []
    image = images.build("cache", base, SCRIPT, {"/lab.conf": config(options)}, direct)
    docker("rm", "--force", CONTAINER, check=False)
    docker("volume", "create", "--label", LABEL, VOLUME)
    say("starting the package cache")
    docker(
        *("run", "--detach", "--name", CONTAINER, "--restart", "always"),
        *("--label", LABEL, "--label", f"{ROOT_LABEL}={ROOT}"),
        *("--network", network.NAME, "--ip", address, "--user", "apt-cacher-ng"),
        *("--init", "--volume", f"{VOLUME}:/var/cache/apt-cacher-ng"),
        *(image, *COMMAND),
    )


def _try(access: Access) -> None:
    """Raise :class:`LabError` unless the sources of this machine work through the cache."""
    trial = ("--option", f"Acquire::http::Proxy={access.proxy}")
    command = ("docker", "run", "--rm", "--label", LABEL, "--network", access.network)
    words = (*command, images.debian(RELEASE), *TRIAL.split(), *trial)
    # Twice, because the cache may still be starting.
    if not any(succeeds(*words, timeout=120) for _ in range(2)):
        raise LabError("apt reaches no index through it")
