"""Updates are real: packages that are made here come in two versions, by repositories that the target takes for
Debian's and for Alpine's."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.machine import Machine

FOLDER = "/srv/slipway-updates"

# Repositories by their origin, packages by name; the second version is what the repository has.
DEBIAN = r"""
set -eu
mkdir -p %(folder)s && cd %(folder)s
release=$(. /etc/os-release; echo $VERSION_CODENAME)
package() {
    mkdir -p build/DEBIAN $3
    printf 'Package: %%s\nVersion: %%s\nArchitecture: all\nMaintainer: T <t@example.test>\nDescription: T\n' $1 $2 \
        >build/DEBIAN/control
    dpkg-deb --build build $3/$1_$2.deb >/dev/null
    rm -r build
}
repository() {
    for name in $5; do
        package $name 1 old
        package $name 2 $1
        dpkg -i old/${name}_1.deb >/dev/null
        {
            dpkg-deb --field $1/${name}_2.deb
            printf 'Filename: ./%%s_2.deb\nSize: %%s\nSHA256: %%s\n\n' $name \
                $(stat -c %%s $1/${name}_2.deb) $(sha256sum $1/${name}_2.deb | cut -d' ' -f1)
        } >>$1/Packages
    done
    printf 'Origin: %%s\nLabel: %%s\nSuite: %%s\nCodename: %%s\nDate: %%s\nSHA256:\n %%s %%s Packages\n' \
        $2 $3 $4 $4 "$(date -uR)" $(sha256sum $1/Packages | cut -d' ' -f1) $(stat -c %%s $1/Packages) >$1/Release
    echo "deb [trusted=yes] file:%(folder)s/$1 ./" >>sources.list
}
repository security Debian Debian-Security $release-security 'slipway-old slipway-held'
repository elsewhere Elsewhere Elsewhere $release slipway-other
mv sources.list /etc/apt/sources.list.d/slipway-updates.list
apt-get -qq update -o Dir::Etc::sourcelist=sources.list.d/slipway-updates.list -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0
"""

ALPINE = r"""
set -eu
apk add --quiet openssl
mkdir -p %(folder)s/old %(folder)s/new/$(apk --print-arch) && cd %(folder)s
openssl genrsa -out key 2048 2>/dev/null
openssl rsa -in key -pubout -out /etc/apk/keys/slipway-updates.rsa.pub 2>/dev/null
mv key slipway-updates.rsa
package() {
    rm -rf files && mkdir -p files/usr/share && echo $2 >files/usr/share/$1
    apk mkpkg --sign-key slipway-updates.rsa --info name:$1 --info version:$2-r0 --info arch:$(apk --print-arch) \
        --info description:T --info license:MIT --files files --output $3/$1-$2-r0.apk
}
for name in slipway-old slipway-held; do
    package $name 1 old
    apk add --quiet ./old/$name-1-r0.apk
    # Not by the file that it came from.
    sed -i "s/^$name><.*/$name/" /etc/apk/world
    package $name 2 new/$(apk --print-arch)
done
cd new/$(apk --print-arch)
apk mkndx --quiet --sign-key ../../slipway-updates.rsa --output APKINDEX.tar.gz *.apk
echo %(folder)s/new >>/etc/apk/repositories
"""

CLEAN = r"""
rm -rf %(folder)s
if command -v apt-get >/dev/null; then
    rm -f /etc/apt/sources.list.d/slipway-updates.list /var/lib/apt/lists/*slipway-updates*
    dpkg --purge slipway-old slipway-held slipway-other >/dev/null 2>&1
else
    apk del --quiet slipway-old slipway-held
    sed -i '\,^%(folder)s,d' /etc/apk/repositories
    rm -f /etc/apk/keys/slipway-updates.rsa.pub
fi
true
"""


def is_debian(machine: Machine) -> bool:
    return bool(machine.host.file("/etc/debian_version").exists)


@pytest.fixture
def old(machine: Machine) -> Iterator[Machine]:
    """Have a target with packages that are older than what its repositories have."""
    machine.run(CLEAN % {"folder": FOLDER})
    machine.run((DEBIAN if is_debian(machine) else ALPINE) % {"folder": FOLDER})
    yield machine
    machine.run(CLEAN % {"folder": FOLDER})


def version(machine: Machine, package: str) -> str:
    if is_debian(machine):
        return machine.run(f"dpkg-query -W -f '${{Version}}' {package}")
    return machine.run(f"cat /usr/share/{package}")


def upgrade(machine: Machine) -> str:
    """Have the job do what it does at night; return what it says."""
    if is_debian(machine):
        return machine.run("unattended-upgrade --verbose 2>&1")
    return machine.run("/usr/local/libexec/slipway/upgrade-packages now 2>&1")


def test_an_old_package_is_upgraded(old: Machine) -> None:
    assert version(old, "slipway-old") == "1"
    upgrade(old)
    assert version(old, "slipway-old") == "2"


def test_a_held_package_and_one_of_elsewhere_stay(old: Machine) -> None:
    upgrade(old)
    assert version(old, "slipway-held") == "1"
    if is_debian(old):
        assert version(old, "slipway-other") == "1"


def test_what_is_no_longer_held_is_upgraded(old: Machine, converge: Callable[..., str]) -> None:
    converge(host_updates_hold=[])
    upgrade(old)
    assert version(old, "slipway-held") == "2"


def test_it_is_noted_what_was_upgraded(old: Machine) -> None:
    upgrade(old)
    log = "/var/log/unattended-upgrades/unattended-upgrades.log" if is_debian(old) else "/var/log/messages"
    assert "slipway-old" in old.run(f"tail -n 20 {log}")


def test_the_job_comes_every_day(machine: Machine) -> None:
    if machine.host.file("/run/systemd/system").exists:
        assert machine.run("systemctl is-active apt-daily.timer apt-daily-upgrade.timer").split() == ["active"] * 2
    elif is_debian(machine):
        assert machine.main_processes("jobs")
        assert machine.run("run-parts --test /etc/cron.daily").split().count("/etc/cron.daily/apt-compat") == 1
    else:
        assert "jobs/slipway-updates" in machine.run("crontab -l -u root")
        assert machine.main_processes("jobs")


def test_a_timer_that_was_stopped_is_started_again(machine: Machine, converge: Callable[..., str]) -> None:
    if not machine.host.file("/run/systemd/system").exists:
        pytest.skip("timers are systemd's")
    machine.run("systemctl disable --now apt-daily-upgrade.timer && systemctl mask apt-daily-upgrade.timer")
    converge()
    assert machine.run("systemctl is-active apt-daily-upgrade.timer") == "active"
    assert machine.run("systemctl is-enabled apt-daily-upgrade.timer") == "enabled"


def test_a_failed_upgrade_fails_the_job(machine: Machine) -> None:
    """Alpine's job is ours; on Debian it is apt's."""
    if is_debian(machine):
        pytest.skip("the job is apt's own")
    machine.run("cp /etc/apk/repositories /root/kept && echo http://archive.invalid/main >>/etc/apk/repositories")
    try:
        assert machine.host.run("/usr/local/libexec/slipway/upgrade-packages now").rc != 0
    finally:
        machine.run("mv /root/kept /etc/apk/repositories")


def test_a_needed_reboot_is_reported_and_not_done(machine: Machine, converge: Callable[..., str]) -> None:
    assert "waits for a reboot: " not in converge()
    machine.run("touch /run/reboot-required && echo linux-image-1 >/run/reboot-required.pkgs")
    try:
        assert "waits for a reboot: updated: linux-image-1" in converge()
    finally:
        machine.run("rm /run/reboot-required /run/reboot-required.pkgs")


def test_it_brings_no_mail_server(machine: Machine) -> None:
    assert machine.run("ls -d /etc/exim4 /etc/postfix 2>/dev/null || true") == ""
