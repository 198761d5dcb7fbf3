"""Real VMs: a Debian 13 disk of the lab's own making, booted by QEMU on the lab's network.

Where :mod:`lab.targets` gives containers that boot like VMs, this gives a kernel, a clock and a disk of its own, and so
a power cut that loses what was not on the disk. Needs root (for the network's port) and QEMU.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import cache, engine, images, network, platforms, ssh, targets
from lab.base import LABEL, PREFIX, STATE, LabError, install, run, say, succeeds, wait_for
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
# Seconds until ssh answers. KVM may be there and yet run no ordinary guest, so it gets no long trial.
BOOT_TIMEOUT = {"kvm": 60, "tcg": 600}
# Seconds a clean shutdown may take.
DOWN_TIMEOUT = 300

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
# Docker gives a container these three itself, and exports them empty.
for file in hostname hosts resolv.conf; do
    mv "/disk/etc/lab-$file" "/disk/etc/$file"
done
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


@dataclass(frozen=True)
class Vm:
    """One virtual machine, with its address on the lab's network."""

    name: str
    address: str

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
    def pid(self) -> int | None:
        """Return the process id of its QEMU, if it runs."""
        path = self.folder / "pid"
        pid = int(path.read_text()) if path.exists() else 0
        line = Path(f"/proc/{pid}/cmdline")
        ours = pid and line.exists() and str(self.folder).encode() in line.read_bytes()
        return pid if ours else None


# The containers' targets take their addresses from the lowest on, and hardly come that far.
NUMBER = 100


def create(name: str) -> Vm:
    """Make a VM anew and boot it; return it when it gives a shell by ssh. Raises :class:`LabError`."""
    if os.geteuid():
        raise LabError("a VM's port on the network needs root")
    install("qemu-system-x86", program="qemu-system-x86_64")
    install("iproute2", program="ip")
    engine.ensure()
    subnet = network.ensure()
    vm = Vm(name, network.host(subnet, NUMBER))
    destroy(vm)
    access = cache.ensure(subnet)
    _make_disk(vm, access)
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


def _make_disk(vm: Vm, access: Access) -> None:
    image = platforms.debian("debian13-vm", RELEASE, PACKAGES, access, MORE)
    say(f"making the disk of {vm.name}")
    vm.folder.mkdir(parents=True)
    (vm.folder / "address").write_text(vm.address)
    container = docker("create", "--label", LABEL, "--network", "none", image, "true")
    try:
        _personalise(vm, container, access)
        making = ["run", "--rm", "--interactive", "--label", LABEL, "--network", "none"]
        making += ["--volume", f"{vm.folder}:/out", image, "sh", "-eu", "-c", DISK_SCRIPT]
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            done = subprocess.run(["docker", *making], stdin=export.stdout, capture_output=True, text=True, check=False)
        if export.returncode or done.returncode:
            raise LabError(f"making the disk failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    finally:
        docker("rm", "--force", container, check=False)


def _personalise(vm: Vm, container: str, access: Access) -> None:
    """Put in what cloud-init would: name, address, keys."""
    targets.give_keys(container, vm.name, vm.address, vm.folder)
    targets.give_machine_id(container)
    images.use_cache(container, access)
    subnet = network.ensure()
    reached = NETWORK_FILE.format(
        mac=vm.mac, address=vm.address, prefix=subnet.partition("/")[2], gateway=network.host(subnet, 1)
    )
    files = {
        "/etc/systemd/network/10-lab.network": reached,
        "/etc/fstab": "LABEL=root / ext4 errors=remount-ro 0 1\n",
        "/etc/lab-hostname": f"{vm.name}\n",
        "/etc/lab-hosts": f"127.0.0.1 localhost\n127.0.1.1 {vm.name}\n",
        "/etc/lab-resolv.conf": "".join(f"nameserver {address}\n" for address in network.nameservers()),
    }
    for path, content in files.items():
        images.put(container, path, content)


def _connect(vm: Vm) -> None:
    """Give the VM its port on the bridge of the lab's network."""
    bridge = "br-" + docker("network", "inspect", "--format", "{{.Id}}", network.NAME)[:12]
    if not succeeds("ip", "link", "show", vm.port):
        run("ip", "tuntap", "add", "dev", vm.port, "mode", "tap")
    run("ip", "link", "set", vm.port, "master", bridge, "up")


def start(vm: Vm) -> None:
    """Switch a VM on; return when it gives a shell by ssh. Raises :class:`LabError`."""
    accelerator = (vm.folder / "accelerator").read_text()
    _connect(vm)
    say(f"starting VM {vm.name} ({accelerator})")
    run(
        *("qemu-system-x86_64", "-name", vm.name, *ACCELERATORS[accelerator]),
        *("-smp", str(PROCESSORS), "-m", MEMORY, "-display", "none", "-serial", f"file:{vm.console}"),
        *("-kernel", vm.folder / "kernel", "-initrd", vm.folder / "initrd"),
        *("-append", "root=LABEL=root ro console=ttyS0 panic=-1"),
        *("-drive", f"file={vm.folder / 'disk'},format=raw,if=virtio"),
        *("-netdev", f"tap,id=lab,ifname={vm.port},script=no,downscript=no"),
        *("-device", f"virtio-net-pci,netdev=lab,mac={vm.mac}"),
        *("-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng"),
        *("-pidfile", vm.folder / "pid", "-daemonize"),
    )
    wait_until_ready(vm)


def wait_until_ready(vm: Vm) -> None:
    """Wait until a VM has booted and gives a shell by ssh."""
    timeout = BOOT_TIMEOUT[(vm.folder / "accelerator").read_text()]
    ready = ssh.command(vm.address, platforms.SYSTEMD_READY)
    wait_for(f"a shell by ssh on {vm.name}", lambda: succeeds(*ready, timeout=timeout), timeout, pause=1)


def boot_id(vm: Vm) -> str:
    """Return what the kernel calls its present life."""
    return run(*ssh.command(vm.address, "cat /proc/sys/kernel/random/boot_id", timeout=30))


def reboot(vm: Vm) -> None:
    """Reboot a VM from the inside; return when it is back."""
    before = boot_id(vm)
    run(*ssh.command(vm.address, "sudo systemctl reboot"), check=False)

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
    for path in FOLDER.glob("*/address"):
        destroy(Vm(path.parent.name, path.read_text()))
