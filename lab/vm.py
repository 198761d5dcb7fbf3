"""Real VMs, booted by QEMU on the lab's network: a Debian 13 disk of the lab's own making, and a disk with Alpine.

Where :mod:`lab.targets` gives containers that boot like VMs, this gives a kernel, a clock and a disk of its own, and so
a power cut that loses what was not on the disk. Needs root (for the network's port) and QEMU.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lab import alpine, cache, engine, images, network, platforms, rehearsal, ssh, targets
from lab.base import LABEL, PREFIX, STATE, LabError, install, run, say, succeeds, wait_for
from lab.console import Console
from lab.engine import docker
from lab.images import Access

FOLDER = STATE / "vms"
RELEASE = "trixie"
DISK_SIZE = "8G"
MEMORY = "3G"
PROCESSORS = 2
# Without KVM the machine is emulated, at a tenth of the speed.
ACCELERATORS = {
    "kvm": ("-accel", "kvm", "-cpu", "host"),
    "tcg": ("-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max"),
}
# What the kernel is told for it. QEMU 7.2 translates a program again for each address it is loaded at, and goes through
# all that was translated of a page for each byte written to it: with random addresses, that was half a minute a page.
KERNEL_ARGUMENTS = {"kvm": "", "tcg": "norandmaps"}
# Seconds until ssh answers. KVM may be there and yet run no ordinary guest, so it gets no long trial.
BOOT_TIMEOUT = {"kvm": 60, "tcg": 600}
# Seconds a clean shutdown may take.
DOWN_TIMEOUT = 300
# Seconds for setting Alpine up by its console.
SET_UP_TIMEOUT = 900

# Docker gives a container these three itself, and exports them empty: so they are put there under other names.
PLACE_FILES = """\
for file in hostname hosts resolv.conf; do
    mv "$root/etc/lab-$file" "$root/etc/$file"
done
"""

PACKAGES = (*platforms.SYSTEMD_PACKAGES, "e2fsprogs", "initramfs-tools", "linux-image-cloud-amd64")
MORE = """\
systemctl enable -q systemd-networkd.service
cp -L /vmlinuz /boot/lab-kernel
cp -L /initrd.img /boot/lab-initrd
chmod 644 /boot/lab-initrd
"""
# The file system is made without mounting anything, so that no right of this machine's is needed for it.
DISK_SCRIPT = f"""\
mkdir /disk
tar -x -C /disk
rm -f /disk/.dockerenv
root=/disk
{PLACE_FILES}\
{platforms.USE_RESOLVED}
cp /disk/boot/lab-kernel /out/kernel
cp /disk/boot/lab-initrd /out/initrd
truncate -s {DISK_SIZE} /out/disk
mkfs.ext4 -q -L root -d /disk /out/disk
chown -R {os.getuid()}:{os.getgid()} /out
"""
NETWORK_FILE = """\
[Match]
MACAddress={mac}

[Network]
Address={address}/{prefix}
Gateway={gateway}
"""

ALPINE_NETWORK_FILE = """\
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address {address}/{prefix}
    gateway {gateway}
"""
# Where Alpine's packages come from and whose they are, and what _personalise put into the container; as text.
ALPINE_FILES = "etc/apk/keys etc/apk/repositories etc/fstab etc/lab-* etc/network etc/ssh/ssh_host_* home usr/local"
ALPINE_PACK = f"cd / && tar -cz {ALPINE_FILES} | base64"
# The disk's makers start it for one program of theirs and as a container. What of that would be in the way is undone;
# then it gets what the installer and cloud-init would give it. It is run by the kernel's first process, a shell.
ALPINE_SCRIPT = """\
mount -o remount,rw /
resize2fs /dev/vda
rc-update delete quicksand-guest-agent boot
rc-update delete setup-dns sysinit
rm /etc/init.d/quicksand-guest-agent /etc/init.d/setup-dns /etc/sudoers.d/quicksand /.dockerenv
deluser --remove-home quicksand
sed -Ei 's/^rc_sys=.*/rc_sys=""/; /^rc_(parallel|controller_cgroups)=/d' /etc/rc.conf
base64 -d <<'FILES' | tar -xz -C /
{files}
FILES
root=
{place}
hostname -F /etc/hostname
echo virtio_net >>/etc/modules
modprobe virtio_net
ifup -a
apk add --quiet {packages}
apk del --quiet curl dhcpcd sudo
{fresh}
enable() {{
    level=$1
    shift
    for service; do rc-update --quiet add "$service" "$level"; done
}}
enable sysinit devfs dmesg
enable boot bootmisc hostname hwclock modules networking seedrng sysctl syslog
enable default crond sshd
enable shutdown killprocs mount-ro savecache
# The power goes next.
mount -o remount,ro /
"""


@dataclass(frozen=True)
class Vm:
    """One virtual machine, with its address on the lab's network."""

    name: str
    platform: str
    address: str

    @property
    def system(self) -> System:
        """Return what its platform decides."""
        return SYSTEMS[self.platform]

    @property
    def number(self) -> int:
        """Return the last part of its address."""
        return int(self.address.rpartition(".")[2])

    @property
    def folder(self) -> Path:
        """Return where its disk, its console's output and its process id lie."""
        return FOLDER / self.name

    @property
    def mac(self) -> str:
        """Return the hardware address; 52:54:00 is what QEMU's have in common."""
        return f"52:54:00:00:00:{self.number:02x}"

    @property
    def port(self) -> str:
        """Return the name of its port on the lab's bridge. A name has 15 characters at most."""
        return f"{PREFIX[:8]}-vm{self.number}"

    @property
    def console(self) -> Path:
        """Return the file of what it printed while booting."""
        return self.folder / "console"

    @property
    def serial(self) -> Path:
        """Return the socket of its console."""
        return self.folder / "serial"

    @property
    def pid(self) -> int | None:
        """Return the process id of its QEMU, if it runs."""
        path = self.folder / "pid"
        pid = int(path.read_text()) if path.exists() else 0
        line = Path(f"/proc/{pid}/cmdline")
        ours = pid and line.exists() and str(self.folder).encode() in line.read_bytes()
        return pid if ours else None


@dataclass(frozen=True)
class System:
    """What distinguishes the VMs of one platform from those of another.

    ``number`` is the last part of their address; ``make_disk`` makes the disk, a kernel and an initrd in their folder;
    ``format`` is the disk's, ``arguments`` are the kernel's. ``network`` is a file on the disk, path and text, and
    ``fstab`` the text of another.
    """

    number: int
    make_disk: Callable[[Vm, Access], None]
    format: str
    arguments: str
    network: tuple[str, str]
    fstab: str


def create(name: str, platform: str = platforms.DEFAULT) -> Vm:
    """Make a VM anew and boot it; return it when it gives a shell by ssh. Raises :class:`LabError`."""
    if os.geteuid():
        raise LabError("a VM's port on the network needs root")
    install("qemu-system-x86", program="qemu-system-x86_64")
    install("iproute2", program="ip")
    engine.ensure()
    subnet = network.ensure()
    vm = Vm(name, platform, network.host(subnet, SYSTEMS[platform].number))
    destroy(vm)
    access = cache.ensure(subnet)
    say(f"making the disk of {name}")
    vm.folder.mkdir(parents=True)
    (vm.folder / "vm.json").write_text(json.dumps(asdict(vm)) + "\n")
    vm.system.make_disk(vm, access)
    for accelerator in ACCELERATORS:
        if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            continue
        (vm.folder / "accelerator").write_text(accelerator)
        try:
            start(vm)
        except LabError as error:
            say(f"{name} with {accelerator}: {error}")
            power_cut(vm)
        else:
            return vm
    raise LabError(f"{name} does not boot; its console is in {vm.console}")


def _make_debian(vm: Vm, access: Access) -> None:
    image = platforms.debian("debian13-vm", RELEASE, PACKAGES, access, MORE)
    container = docker("create", "--label", LABEL, "--network", "none", image, "true")
    try:
        _personalise(vm, container)
        targets.give_machine_id(container)
        images.use_cache(container, access)
        making = ["run", "--rm", "--interactive", "--label", LABEL, "--network", "none"]
        making += ["--volume", f"{vm.folder}:/out", image, "sh", "-eu", "-c", DISK_SCRIPT]
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            done = subprocess.run(["docker", *making], stdin=export.stdout, capture_output=True, text=True, check=False)
        if export.returncode or done.returncode:
            raise LabError(f"making the disk failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    finally:
        docker("rm", "--force", container, check=False)


def _make_alpine(vm: Vm, access: Access) -> None:
    """Have a shell on the disk of the rehearsal's wheel install sshd and set up what a VM has.

    Nobody can log in there: root has no password, and the serial console no getty. So the kernel starts the shell.
    """
    install("qemu-utils", program="qemu-img")
    image, repositories = alpine.base(access)
    rehearsal.unpack_disk(vm.folder)
    run("qemu-img", "resize", "-q", vm.folder / "disk", DISK_SIZE)
    line = f"{repositories}; {ALPINE_PACK}"
    container = docker("create", "--label", LABEL, "--network", "none", image, "/bin/sh", "-euc", line)
    try:
        _personalise(vm, container)
        for path, text in alpine.trusted().items():
            images.put(container, path, text)
        files = docker("start", "--attach", container)
    finally:
        docker("rm", "--force", container, check=False)
    script = ALPINE_SCRIPT.format(
        files=files,
        place=PLACE_FILES,
        packages=" ".join(alpine.PACKAGES),
        fresh=alpine.fresh(platforms.USER, platforms.USER_ID),
    )
    # Emulated, because that works everywhere.
    _switch_on(vm, "tcg", "init=/bin/sh")
    try:
        Console(vm.serial, BOOT_TIMEOUT["tcg"]).run(script, SET_UP_TIMEOUT)
    finally:
        power_cut(vm)


def _personalise(vm: Vm, container: str) -> None:
    """Put in what cloud-init would: name, address, keys."""
    targets.give_keys(container, vm.name, vm.address, vm.folder)
    subnet = network.ensure()
    path, text = vm.system.network
    prefix, gateway = subnet.partition("/")[2], network.host(subnet, 1)
    files = {
        path: text.format(mac=vm.mac, address=vm.address, prefix=prefix, gateway=gateway),
        "/etc/fstab": vm.system.fstab,
        "/etc/lab-hostname": f"{vm.name}\n",
        "/etc/lab-hosts": f"127.0.0.1 localhost\n127.0.1.1 {vm.name}\n",
        "/etc/lab-resolv.conf": "".join(f"nameserver {address}\n" for address in network.nameservers()),
    }
    for path, content in files.items():
        images.put(container, path, content)


SYSTEMS = {
    # The containers' targets take their addresses from the lowest on, and hardly come that far.
    "debian13-systemd": System(
        number=100,
        make_disk=_make_debian,
        format="raw",
        arguments="root=LABEL=root ro",
        network=("/etc/systemd/network/10-lab.network", NETWORK_FILE),
        fstab="LABEL=root / ext4 errors=remount-ro 0 1\n",
    ),
    "alpine": System(
        number=101,
        make_disk=_make_alpine,
        format="qcow2",
        arguments="root=/dev/vda rootfstype=ext4",
        network=("/etc/network/interfaces", ALPINE_NETWORK_FILE),
        fstab="/dev/vda / ext4 rw,relatime 0 1\n",
    ),
}


def _connect(vm: Vm) -> None:
    """Give the VM its port on the bridge of the lab's network."""
    bridge = "br-" + docker("network", "inspect", "--format", "{{.Id}}", network.NAME)[:12]
    if not succeeds("ip", "link", "show", vm.port):
        run("ip", "tuntap", "add", "dev", vm.port, "mode", "tap")
    run("ip", "link", "set", vm.port, "master", bridge, "up")


def _switch_on(vm: Vm, accelerator: str, arguments: str = "") -> None:
    """Have QEMU run a VM; the kernel gets these arguments besides its system's."""
    _connect(vm)
    append = f"{vm.system.arguments} console=ttyS0 panic=-1 {KERNEL_ARGUMENTS[accelerator]} {arguments}"
    run(
        *("qemu-system-x86_64", "-name", vm.name, *ACCELERATORS[accelerator]),
        *("-smp", str(PROCESSORS), "-m", MEMORY, "-display", "none", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=console,path={vm.serial},server=on,wait=off,logfile={vm.console}"),
        *("-kernel", vm.folder / "kernel", "-initrd", vm.folder / "initrd"),
        *("-append", append),
        *("-drive", f"file={vm.folder / 'disk'},format={vm.system.format},if=virtio"),
        *("-netdev", f"tap,id=lab,ifname={vm.port},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=lab,mac={vm.mac}"),
        *("-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng"),
        *("-pidfile", vm.folder / "pid", "-daemonize"),
    )


def start(vm: Vm) -> None:
    """Switch a VM on; return when it gives a shell by ssh. Raises :class:`LabError`."""
    accelerator = (vm.folder / "accelerator").read_text()
    say(f"starting VM {vm.name} ({accelerator})")
    _switch_on(vm, accelerator)
    wait_until_ready(vm)


def wait_until_ready(vm: Vm) -> None:
    """Wait until a VM has booted and gives a shell by ssh."""
    timeout = BOOT_TIMEOUT[(vm.folder / "accelerator").read_text()]
    ready = ssh.command(vm.address, platforms.find(vm.platform).ready)
    wait_for(f"a shell by ssh on {vm.name}", lambda: succeeds(*ready, timeout=timeout), timeout, pause=1)


def boot_id(vm: Vm) -> str:
    """Return what the kernel calls its present life."""
    return run(*ssh.command(vm.address, "cat /proc/sys/kernel/random/boot_id", timeout=30))


def reboot(vm: Vm) -> None:
    """Reboot a VM from the inside; return when it is back."""
    before = boot_id(vm)
    run(*ssh.command(vm.address, f"{platforms.find(vm.platform).become} reboot"), check=False)

    def is_another() -> bool:
        line = ssh.command(vm.address, "cat /proc/sys/kernel/random/boot_id")
        return before not in (run(*line, check=False, timeout=60) or before)

    wait_for(f"a reboot of {vm.name}", is_another, DOWN_TIMEOUT + BOOT_TIMEOUT["tcg"], pause=1)
    wait_until_ready(vm)


def power_cut(vm: Vm) -> None:
    """Take the power away: what the guest had not written to its disk is lost."""
    if vm.pid is not None:
        os.kill(vm.pid, signal.SIGKILL)
        wait_for(f"the end of {vm.name}", lambda: vm.pid is None, 30)


def destroy(vm: Vm) -> None:
    """Remove a VM with its disk. One that isn't there is no error."""
    if not vm.folder.exists():
        return
    power_cut(vm)
    if succeeds("ip", "link", "show", vm.port):
        run("ip", "link", "delete", vm.port)
    ssh.pin(vm.address, None)
    shutil.rmtree(vm.folder)


def destroy_all() -> None:
    """Remove all VMs."""
    for path in FOLDER.glob("*/vm.json"):
        destroy(Vm(**json.loads(path.read_text())))
