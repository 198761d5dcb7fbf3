"""The target: what differs between providers, service managers and distributions stands here, and nowhere else."""

from __future__ import annotations

import functools
import json
import re
import shlex
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import paramiko
from testinfra.backend.paramiko import ParamikoBackend
from testinfra.host import Host

from tests.acceptance.summary import Site, Ssh, Summary
from tests.acceptance.waiting import wait_until

STACK = "/opt/slipway/stack"
PROJECT = "slipway"
REBOOT_TIMEOUT = 300  # seconds until the target answers by ssh again
COMMAND_TIMEOUT = 600  # seconds for one command
# Asks for the password each time, unless none is wanted, and takes it from the first line of the standard input.
ASKING = "sudo -k -S -p ''"

# What a component's programs are called, here or there.
PROGRAMS = {
    "web": ("nginx",),
    "php": ("php-fpm",),
    "database": ("mariadbd", "mysqld"),
    "cache": ("redis-server", "valkey-server"),
    "ftp": ("vsftpd",),
    "static": ("node", "nodejs"),
    "engine": ("dockerd",),
    "jobs": ("cron", "crond"),
}
# The Compose services, and what the distributions call their own.
SERVICES = {"web": "nginx", "database": "mariadb", "cache": "redis", "ftp": "ftp"}
NATIVE_SERVICES = {
    "web": ("nginx",),
    "database": ("mariadb",),
    "cache": ("redis-server", "redis", "valkey-server", "valkey"),
    "ftp": ("vsftpd",),
}
# Redis's or Valkey's, whichever is there.
CACHE_CLIENT = "$(command -v redis-cli || command -v valkey-cli)"
CACHE_SOCKET = "/var/lib/slipway/cache/cache.sock"

# Prints every process as JSON; one that has ended, or ends meanwhile, is left out.
LIST_PROCESSES = r"""
import json, os
found = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/stat") as file:
            text = file.read()
        if text[text.rindex(")") + 2] == "Z":
            continue
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        with open(f"/proc/{pid}/status") as file:
            uid = next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
        names = [text[text.index("(") + 1:text.rindex(")")]]
        try:
            names.append(os.path.basename(os.readlink(f"/proc/{pid}/exe").split(" (deleted)")[0]))
        except OSError:
            pass
        parent = int(text[text.rindex(")") + 2:].split()[1])
    except (OSError, StopIteration):
        continue
    line = b" ".join(words).decode("utf-8", "replace").strip()
    found.append({"pid": int(pid), "parent": parent, "uid": uid, "names": names, "line": line})
print(json.dumps(found))
"""

# Asks with the module by which the playbook asks as well.
ASK_DATABASE = r"""
import json, sys, pymysql
connection = pymysql.connect(unix_socket=sys.argv[1], user="root")
with connection.cursor() as cursor:
    cursor.execute(sys.stdin.read())
    print(json.dumps([str(row[0]) for row in cursor.fetchall()]))
"""


@dataclass(frozen=True)
class Process:
    """A process of the target. ``names`` are its own and that of its file, ``line`` is its command line."""

    pid: int
    parent: int
    uid: int
    names: list[str]
    line: str


class NoRoot(Exception):  # noqa: N818 - it says what there isn't
    """The user of a host can't become root."""


class PinnedBackend(ParamikoBackend):  # type: ignore[misc]  # testinfra has no type information
    """testinfra's paramiko backend, with the host key checked, and sudo or doas, whichever makes the user root."""

    def __init__(self, ssh: Ssh) -> None:
        """Connect at the first command."""
        super().__init__(ssh.host, ssh_identity_file=ssh.private_key or None, sudo=ssh.user != "root")
        self.ssh = ssh
        # What is sent before anything else; nothing where nobody asks for it.
        self.password = ""

    @functools.cached_property
    def client(self) -> paramiko.SSHClient:
        """Return a connection; raises OSError or paramiko.SSHException."""
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        if self.ssh.known_hosts:
            client.load_host_keys(self.ssh.known_hosts)
        else:
            client.load_system_host_keys()
        client.connect(
            self.ssh.host,
            self.ssh.port,
            self.ssh.user or None,
            key_filename=self.ssh.private_key or None,
            timeout=self.timeout,
        )
        return client

    @functools.cached_property
    def become(self) -> str:
        """Return the words that make one root; raises NoRoot where none do."""
        if self._exec_command(b"test $(id -u) = 0")[0] == 0:
            return "env"
        for words in ("sudo -n -k", "doas -n"):
            if self._exec_command(f"{words} true".encode())[0] == 0:
                return words
        self.password = self.ssh.become_password
        if self.password and self._exec_command(f"{ASKING} true".encode())[0] == 0:
            return ASKING
        self.password = ""
        raise NoRoot(
            f"{self.ssh.name or self.ssh.host}: {self.ssh.user or 'the user'} can't become root. Where sudo asks for a"
            " password run `make verify ARGS=-K`, or set ansible_become_password; doas has to permit it with nopass"
        )

    def get_sudo_command(self, command: str, sudo_user: str | None) -> str:
        """Return the line that runs a command as root, or as another user."""
        user = f" -u {shlex.quote(sudo_user)}" if sudo_user else ""
        return f"{self.become}{user} /bin/sh -c {shlex.quote(command)}"

    def start(self, command: str | bytes) -> paramiko.Channel:
        """Start a command; the password that sudo asks for comes first on its standard input."""
        transport = self.client.get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=30)
        channel.settimeout(COMMAND_TIMEOUT)
        channel.exec_command(command)
        if self.password:
            channel.sendall(f"{self.password}\n".encode())
        return channel

    def _exec_command(self, command: bytes) -> tuple[int, bytes, bytes]:
        channel = self.start(command)
        channel.shutdown_write()
        output = channel.makefile("rb").read()
        errors = channel.makefile_stderr("rb").read()
        return channel.recv_exit_status(), output, errors


class Machine:
    """The target of a summary. Database and cache may be on others; what is asked of them is asked there."""

    def __init__(self, summary: Summary) -> None:
        """Connect at the first command."""
        self.summary = summary
        self.compose = summary.provider == "compose"
        self.backend = PinnedBackend(summary.ssh)
        self.host: Any = Host(self.backend)
        self._backends = {ssh: Machine(replace(summary, ssh=ssh, backends={})) for ssh in summary.backends.values()}

    def at(self, component: str) -> Machine:
        """Return the target that a component runs on."""
        ssh = self.summary.backends.get(component)
        return self._backends[ssh] if ssh else self

    def check_root(self) -> None:
        """Raise NoRoot where the user of one of the hosts can't become root."""
        for machine in self.every():
            if machine.backend.sudo:
                assert machine.backend.become

    def every(self) -> list[Machine]:
        """Return this target and those of database and cache."""
        return [self, *self._backends.values()]

    # Commands.

    def run(self, command: str) -> str:
        """Run a shell line as root; return what it printed, stripped. Raises AssertionError if it fails."""
        result = self.host.run(command)
        assert result.rc == 0, f"{command}: {result.rc} {result.stderr.strip() or result.stdout.strip()}"
        return str(result.stdout).strip()

    def feed(self, command: str, text: str) -> str:
        """Run a shell line as root with a text on its standard input, where no process list shows it."""
        channel = self.backend.start(self.backend.get_command(command))
        channel.sendall(text.encode())
        channel.shutdown_write()
        output = channel.makefile("rb").read().decode("utf-8", "replace")
        errors = channel.makefile_stderr("rb").read().decode("utf-8", "replace")
        code = channel.recv_exit_status()
        assert code == 0, f"{command}: {code} {errors.strip() or output.strip()}"
        return output.strip()

    @contextmanager
    def background(self, script: str, text: str) -> Iterator[Callable[[], str]]:
        """Run a Python script on the target meanwhile. Its standard input starts with one line, ``text``.

        Yields what ends the standard input, and returns what the script printed.
        """
        channel = self.backend.start(self.backend.get_command(f"python3 -c {shlex.quote(script)}"))
        channel.sendall(f"{text}\n".encode())

        def end() -> str:
            channel.shutdown_write()
            output = channel.makefile("rb").read().decode("utf-8", "replace")
            errors = channel.makefile_stderr("rb").read().decode("utf-8", "replace")
            assert channel.recv_exit_status() == 0, errors
            return output.strip()

        try:
            yield end
        finally:
            channel.close()

    # Processes.

    def processes(self) -> list[Process]:
        """Return all processes; root sees those in containers as well."""
        return [Process(**one) for one in json.loads(self.feed("python3 -", LIST_PROCESSES))]

    def main_processes(self, component: str) -> list[Process]:
        """Return the main processes of a component: its programs that no other of them started."""
        mine = [process for process in self.at(component).processes() if _belongs(process, component)]
        pids = {process.pid for process in mine}
        return sorted((one for one in mine if one.parent not in pids), key=lambda process: process.pid)

    # Services.

    @functools.cached_property
    def service_manager(self) -> str:
        """Return systemd or openrc."""
        return "systemd" if self.host.run("test -d /run/systemd/system").rc == 0 else "openrc"

    def _service(self, component: str) -> str:
        for name in NATIVE_SERVICES[component]:
            ask = f"systemctl cat {name}" if self.service_manager == "systemd" else f"test -x /etc/init.d/{name}"
            if self.host.run(ask).rc == 0:
                return name
        raise AssertionError(f"the target has none of the services {', '.join(NATIVE_SERVICES[component])}")

    def _control(self, component: str, verb: str) -> None:
        if component in self.summary.backends:
            self.at(component)._control(component, verb)
        elif self.compose:
            self.stack(f"{verb} {SERVICES[component]}")
        else:
            self.control_service(self._service(component), verb)

    def control_service(self, name: str, verb: str) -> None:
        """Have the service manager start, stop or restart a service."""
        self.run(f"systemctl {verb} {name}" if self.service_manager == "systemd" else f"rc-service {name} {verb}")

    @contextmanager
    def stopped(self, component: str) -> Iterator[None]:
        """Stop a component meanwhile, as an operator would."""
        self._control(component, "stop")
        try:
            yield
        finally:
            self._control(component, "start")

    def recreate(self) -> None:
        """Make every container anew; where there are none, start every service anew."""
        if self.compose:
            self.stack("up --detach --force-recreate --wait")
            return
        for component in NATIVE_SERVICES:
            if self.main_processes(component):
                self._control(component, "restart")
        for name in {process.names[0] for process in self.main_processes("php")}:
            # php-fpm8.4 is the program of the service php8.4-fpm on Debian, of php-fpm84 on Alpine.
            names = [name.replace("php-fpm", "php") + "-fpm", name.replace(".", "")]
            asked = [f"systemctl restart {one}" for one in names]
            if self.service_manager == "openrc":
                asked = [f"{{ test -x /etc/init.d/{one} && rc-service {one} restart; }}" for one in names]
            self.run(" || ".join(asked))

    def boot(self) -> str:
        """Return what names this boot: the kernel's own id, and when the first process started."""
        return self.run("cat /proc/sys/kernel/random/boot_id; cut -d ' ' -f 22 /proc/1/stat")

    def reboot(self) -> float:
        """Reboot the target; return the seconds until it answers by ssh again."""
        before = self.boot()
        # The connection may end before the command does.
        self.host.run("(reboot >/dev/null 2>&1 &)")

        def is_back() -> bool:
            self.disconnect()
            try:
                return self.boot() != before
            except paramiko.SSHException as error:
                raise ConnectionError(str(error)) from error

        return wait_until("the target is back after a reboot", is_back, REBOOT_TIMEOUT, pause=0.5)

    def disconnect(self) -> None:
        """Forget the connection; the next command makes a new one."""
        client = self.backend.__dict__.pop("client", None)
        if client is not None:
            client.close()
        for machine in self._backends.values():
            machine.disconnect()

    # The container stack.

    def stack(self, arguments: str) -> str:
        """Run ``docker compose`` in the stack's folder."""
        return self.run(f"cd {STACK} && docker compose --ansi never --progress quiet {arguments}")

    def containers(self) -> list[dict[str, Any]]:
        """Return what ``docker inspect`` says of every container of the stack."""
        ids = self.run(f"docker ps --all --quiet --filter label=com.docker.compose.project={PROJECT}").split()
        assert ids, "the stack has no container"
        found: list[dict[str, Any]] = json.loads(self.run(f"docker inspect {' '.join(ids)}"))
        return found

    def php_containers(self, site: Site) -> list[str]:
        """Return the Compose services that run a site's PHP."""
        names = (container["Config"]["Labels"]["com.docker.compose.service"] for container in self.containers())
        return sorted(name for name in names if re.fullmatch(rf"php-{re.escape(site.name)}-\d+", name))

    # What is inside.

    def web_root(self, site: Site) -> str:
        """Return the folder of a WordPress site's web root, on the host."""
        return f"/srv/slipway/volumes/wordpress_{site.name}" if self.compose else f"/var/www/{site.name}/public"

    @contextmanager
    def planted(self, site: Site, program: str) -> Iterator[str]:
        """Yield the path of a program of PHP that is a site's own, while it is in its web root."""
        root = self.web_root(site)
        name = f"slipway-test-{uuid.uuid4().hex}.php"
        self.feed(f"sh -c 'cat >{root}/{name} && chown --reference={root} {root}/{name}'", program)
        try:
            yield f"/{name}"
        finally:
            self.run(f"rm -f {root}/{name}")

    def sql(self, query: str) -> list[str]:
        """Ask the database as its root, over the unix socket; return the first column of each row."""
        socket = "/srv/slipway/volumes/mariadb_run/mysqld.sock" if self.compose else "/run/mysqld/mysqld.sock"
        found: list[str] = json.loads(
            self.at("database").feed(f"python3 -c {shlex.quote(ASK_DATABASE)} {socket}", query)
        )
        return found

    def ask_cache(self, *commands: str) -> str:
        """Send commands to the cache as nobody; return the answers, one or more lines each."""
        client = f"{CACHE_CLIENT} -s {CACHE_SOCKET}"
        if self.compose:
            client = f"cd {STACK} && docker compose exec -T {SERVICES['cache']} sh -c '{CACHE_CLIENT}'"
        return self.at("cache").feed(client, "\n".join(commands) + "\n")

    def cache(self, site: Site, *commands: str) -> str:
        """Send commands to the cache as a site's user; return the answers."""
        password = self.summary.secret(f"{site.name}_cache_password")
        first, _, rest = self.ask_cache(f"AUTH {site.name} {password}", *commands).partition("\n")
        assert first == "OK", f"the cache does not know the user {site.name}: {first}"
        return rest

    def wordpress_version(self, site: Site) -> tuple[str, str]:
        """Return a site's release and the version of the tables it wants, from its files."""
        path = f"{self.web_root(site)}/wp-includes/version.php"
        return (
            self.run(f"sed -n \"s/^.wp_version = '\\(.*\\)';$/\\1/p\" {path}"),
            self.run(f'sed -n "s/^.wp_db_version = \\([0-9]*\\);$/\\1/p" {path}'),
        )

    def forget_site(self, name: str) -> None:
        """Remove what a WordPress or static site leaves on the target when it goes out of the inventory."""
        self.sql(f"DROP DATABASE IF EXISTS `{name}`;")
        # The name is the test's own.
        found = f"SELECT CONCAT(QUOTE(User), '@', QUOTE(Host)) FROM mysql.user WHERE User = '{name}';"  # noqa: S608
        for user in self.sql(found):
            self.sql(f"DROP USER {user};")
        self.run(f"rm -rf /srv/slipway/static/{name}")
        if self.compose:
            kinds = ("wordpress", "php", "php_tmp", "php_sessions")
            self.run("docker volume rm --force " + " ".join(f"{PROJECT}_{kind}_{name}" for kind in kinds))
            self.run("rm -rf " + " ".join(f"/srv/slipway/volumes/{kind}_{name}" for kind in kinds))
        else:
            self.run(f"rm -rf /var/www/{name}; ! id {name} >/dev/null 2>&1 || userdel {name} || deluser {name}")


def _belongs(process: Process, component: str) -> bool:
    programs = PROGRAMS[component]
    if component == "static" and "http-server" not in process.line:
        return False
    if component == "php":
        return any(name.startswith(programs) for name in process.names)
    return not set(programs).isdisjoint(process.names)
