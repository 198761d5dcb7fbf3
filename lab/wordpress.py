"""WordPress archives for machines that can't reach the one the role pins.

Debian's package is WordPress with parts linked out to other packages; the archive made here has them back in, in the
layout of the upstream archive. It is the same file each time it is made of the same packages.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab import cache, engine, files, images, network
from lab.base import LABEL, ROOT, LabError, say
from lab.engine import docker

DEFAULTS = ROOT / "roles" / "php_fpm_wordpress" / "defaults" / "main.yml"
# Targets fetch it from there, as they would from the project's own site.
FOLDER = files.FOLDER
# Seconds a web server gets to tell whether it has the archive.
ANSWER_TIMEOUT = 10
# Debian releases asked for a version, in this order: what stays as it is before what moves on.
RELEASES = ("trixie", "bookworm", "forky", "sid")

# Makes the archive from the packages of the first release that has the version. Runs in a container of its own: there
# the packages' links lead where they should, and nothing is installed, the packages are only unpacked.
SCRIPT = r"""
export LC_ALL=C.UTF-8
sources=/etc/apt/sources.list.d/debian.sources
archive=$(sed '/^$/q' "$sources")
cat >/etc/apt/apt.conf.d/99lab <<'OPTIONS'
Acquire::Languages "none";
APT::Sandbox::User "root";
OPTIONS
for release in $RELEASES; do
    grep -q "^Suites: $release " "$sources" ||
        printf '%s\n' "$archive" | sed "s/^Suites: .*/Suites: $release/" >"$sources"
    apt-get -qq update
    package=$(apt-cache madison wordpress | awk -v v="$VERSION" '
        {start = substr($3, 1, length(v) + 1)}
        start == v "." || start == v "+" || start == v "-" {print $3; exit}')
    [ -z "$package" ] || break
done
[ -n "$package" ] || { echo "no package of WordPress $VERSION in Debian ($RELEASES)" >&2; exit 4; }
mkdir /debs
cd /debs
apt-get -qq download "wordpress=$package"
# What was linked out lies in libraries it depends on, and in the themes it recommends.
dpkg-deb --field wordpress_*.deb Depends Recommends | sed 's/^[A-Za-z-]*: //' | tr ',|' '\n\n' |
    sed 's/[(:].*//; s/ //g' | grep -E '^(lib(js|php)-|php-getid3|wordpress-theme-)' | sort -u |
    xargs -r apt-get -qq download
for deb in *.deb; do
    dpkg-deb --extract "$deb" /
done
cd /usr/share/wordpress
# Debian's own configuration, which upstream's archive has not.
rm -f wp-config.php .htaccess
# These keep folders from being listed; Debian left out two of the three.
for folder in wp-content wp-content/themes; do
    [ -e "$folder/index.php" ] || cp wp-content/plugins/index.php "$folder/index.php"
done
dangling=$(find . -xtype l)
[ -z "$dangling" ] || { echo "Debian's wordpress $package links to what it does not name:" $dangling >&2; exit 5; }
# The time of the package: the same for the same package, another for another.
tar --create --file=/wordpress.tar --dereference --sort=name --format=ustar --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX --mtime="@$(stat -c %Y readme.html)" --transform='s,^[.],wordpress,' .
gzip --no-name --best /wordpress.tar
mv /wordpress.tar.gz "/wordpress-${package%%[+-]*}.tar.gz"
"""


@dataclass(frozen=True)
class WordPress:
    """One archive: its exact version and where it lies."""

    version: str
    path: Path

    def variables(self) -> dict[str, str]:
        """Return the variables that make the role fetch this archive from the lab's file server."""
        served = files.publish(self.path)
        return {
            "php_fpm_wordpress_version": self.version,
            "php_fpm_wordpress_url": served.url,
            "php_fpm_wordpress_checksum": served.checksum,
        }


def pinned(text: str) -> tuple[str, str]:
    """Return version and URL of the role's pinned release, from the text of its defaults."""
    defaults = yaml.safe_load(text)
    version = str(defaults["php_fpm_wordpress_version"])
    url = str(defaults["php_fpm_wordpress_url"])
    return version, url.replace("{{ php_fpm_wordpress_version }}", version)


def reachable(url: str) -> bool:
    """Tell whether a web server has this URL, without fetching it."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the scheme is the pinned one
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT):  # noqa: S310
            return True
    except OSError:
        return False


def newest(names: Iterable[str], series: str) -> str | None:
    """Return the file name of the newest archive of ``series``: ``7.1`` covers 7.1 and 7.1.x."""
    found = []
    for name in names:
        match = re.fullmatch(rf"wordpress-({re.escape(series)}(?:\.\d+)*)\.tar\.gz", name)
        if match:
            found.append((tuple(map(int, match[1].split("."))), name))
    return max(found)[1] if found else None


def _found(series: str) -> WordPress | None:
    name = newest((path.name for path in FOLDER.glob("wordpress-*.tar.gz")), series)
    if name is None:
        return None
    path = FOLDER / name
    version = name.removeprefix("wordpress-").removesuffix(".tar.gz")
    return WordPress(version, path)


def archive(series: str) -> WordPress:
    """Return an archive of WordPress ``series`` (like 7.1 or 6.8), made if it isn't there.

    The archive may be of a later point release: its ``version`` says which. Raises :class:`LabError` where Debian
    has none.
    """
    found = _found(series)
    if found:
        return found
    say(f"making an archive of WordPress {series} from Debian's packages")
    engine.ensure()
    access = cache.ensure(network.ensure())
    container = docker(
        *("create", "--label", LABEL, "--network", access.network),
        *("--env", f"VERSION={series}", "--env", f"RELEASES={' '.join(RELEASES)}"),
        *(images.debian(RELEASES[0]), "/bin/sh", "-euc", SCRIPT),
    )
    try:
        images.use_cache(container, access)
        docker("start", "--attach", container)
        FOLDER.mkdir(parents=True, exist_ok=True)
        for line in docker("diff", container).splitlines():
            path = line.removeprefix("A ")
            if re.fullmatch(r"/wordpress-[0-9.]+\.tar\.gz", path):
                docker("cp", f"{container}:{path}", FOLDER / path.lstrip("/"))
    finally:
        docker("rm", "--force", "--volumes", container, check=False)
    found = _found(series)
    if found is None:
        raise LabError(f"Debian's packages gave no archive of WordPress {series}")
    return found


def variables() -> dict[str, str]:
    """Return the variables for a machine that can't reach the pinned archive; none for one that can."""
    version, url = pinned(DEFAULTS.read_text())
    if reachable(url):
        return {}
    try:
        return archive(version).variables()
    except LabError as error:
        say(f"{url} does not answer, and {error}: set php_fpm_wordpress_url yourself")
        return {}
