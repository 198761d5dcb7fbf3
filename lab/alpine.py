"""The platform Alpine: the image of a registry where one answers, a rehearsal of it where none does.

Either becomes what a fresh VM is: OpenRC as PID 1, sshd, a user who may become root with doas, Alpine's repositories
with community off; no Python, no sudo.
"""

from __future__ import annotations

import os
from pathlib import Path

from lab import images, rehearsal
from lab.base import LabError, say
from lab.engine import docker
from lab.images import Access

# Alpine 3.23 on Docker Hub, for all architectures.
OFFICIAL = "docker.io/library/alpine:3.23@sha256:5b10f432ef3da1b8d4c7eb6c487f2f5a8f096bc91145e68878dd4a5019afde11"
# Which of both, where the lab should not look by itself: `registry` or `rehearsal`.
CHOICE = "SLIPWAY_LAB_ALPINE"
# Seconds for a registry to answer, image included.
PULL_TIMEOUT = 120
# What a VM of Alpine's cloud images has, as far as this toolkit can tell the difference.
PACKAGES = (
    "alpine-base",
    "busybox-openrc",
    "ca-certificates-bundle",
    "doas",
    "e2fsprogs",
    "openssh",
)
# Where Debian and Alpine keep the certificate authorities that a machine's administrator trusts, such as a proxy's.
AUTHORITIES = Path("/usr/local/share/ca-certificates")
# First process, started by platforms.INIT_PATH.
COMMAND = ("/sbin/init",)
# The default runlevel is reached, and all of it has started.
READY = '[ "$(rc-status --runlevel)" = default ] && [ ! -e /run/openrc/rc.starting ]'

SCRIPT = """\
apk add --quiet {packages}
# An image starts nothing. osclock leaves the clock alone, which is the one of the machine the lab runs on: swclock
# would set it back to the date of a file.
enable() {{
    level=$1
    shift
    for service; do rc-update --quiet add "$service" "$level"; done
}}
enable boot bootmisc hostname networking osclock seedrng sysctl syslog
enable default crond sshd
enable shutdown killprocs savecache
printf 'clock_hctosys="NO"\\nclock_systohc="NO"\\n' >>/etc/conf.d/hwclock
# Neither are settings of the whole kernel a container's own.
sed -Ei '/^(kernel|fs)[.]/d' /usr/lib/sysctl.d/*.conf
printf 'auto lo\\niface lo inet loopback\\n\\nauto eth0\\niface eth0 inet manual\\n' >/etc/network/interfaces
# A container has no terminals.
sed -i '/^tty/d' /etc/inittab
# As on a VM: no service is left out because this is a container.
sed -i 's/^#*rc_sys=.*/rc_sys=""/' /etc/rc.conf
# As setup-apkrepos leaves it.
sed -i 's|^\\([^#].*/community\\)$|#\\1|' /etc/apk/repositories
addgroup -g {uid} {user}
adduser -D -u {uid} -G {user} -s /bin/sh {user}
addgroup {user} wheel
# As cloud-init leaves them: no password, and yet not locked, because sshd refuses keys of locked accounts.
sed -Ei 's/^({user}|root):[^:]*/\\1:*/' /etc/shadow
echo 'permit nopass {user}' >>/etc/doas.conf
cat {authorities}/*.crt >>/etc/ssl/certs/ca-certificates.crt 2>/dev/null || true
install -d -m 700 -o {user} -g {user} /home/{user}/.ssh
chmod 755 {init}
rm -f /etc/ssh/ssh_host_*
: >/etc/resolv.conf
: >/etc/hostname
"""


def _pulled() -> str | None:
    """Return the official image if the engine has it or can pull it."""
    try:
        docker("image", "inspect", OFFICIAL)
    except LabError:
        say("asking the registry for Alpine")
        try:
            docker("pull", "--quiet", OFFICIAL, timeout=PULL_TIMEOUT)
        except LabError as error:
            say(f"no image of Alpine from a registry: {error}")
            return None
    return OFFICIAL


def base(access: Access) -> str:
    """Return the image that targets are built on. Raises :class:`LabError` where there is none."""
    choice = os.environ.get(CHOICE, "")
    if choice not in {"", "registry", "rehearsal"}:
        raise LabError(f"{CHOICE}: {choice!r} is not allowed; registry or rehearsal")
    pulled = None if choice == "rehearsal" else _pulled()
    if choice == "registry" and not pulled:
        raise LabError(f"{CHOICE}=registry, but none answers")
    return pulled or rehearsal.image(access, PACKAGES)


def image(access: Access, user: str, uid: int, init: tuple[str, str]) -> str:
    """Return the image of a fresh VM with this user; ``init`` is the path and the text of the first process."""
    path, text = init
    script = SCRIPT.format(packages=" ".join(PACKAGES), user=user, uid=uid, init=path, authorities=AUTHORITIES)
    # A target reaches the world through the same proxies as this machine, so it has to trust the same.
    trusted = {str(file): file.read_text() for file in sorted(AUTHORITIES.glob("*.crt"))}
    return images.build("alpine", base(access), script, {path: text, **trusted}, access)
