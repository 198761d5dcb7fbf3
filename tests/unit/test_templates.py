"""Every file that the roles write, for every platform and provider, read by the program it is for."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.waiting import wait_until
from tests.parsers import Parsers, Stage, parsers_of, parsers_with, shell_faults
from tests.rendered import (
    ACCEPTED,
    FEW,
    HOSTS,
    ORDER,
    SECRETS,
    SERVES,
    Host,
    Rendered,
    every_host,
    marks,
    runs,
)
from tests.repository import ROLE_NAMES, ROLES, ROOT, load
from tools.parsers import PACKAGES


def release_of(host: Host) -> str:
    return host.platform.reader


@pytest.fixture
def stage(host: Host, rendered: Rendered) -> Iterator[Stage]:
    parsers = parsers_of(release_of(host)) or Parsers(Path("/"), "")
    with parsers.stage(rendered.root(host)) as staged:
        yield staged


def program(host: Host, *names: str) -> str:
    """Return a program of the host's release, or skip the test and say what is missing."""
    return parsers_with(release_of(host), *names)[1]


def test_every_role_is_run() -> None:
    assert sorted([*ORDER, *SERVES]) == ROLE_NAMES


def test_the_few_are_what_a_run_is_let_through_on() -> None:
    assert [host.name for host in FEW if host.platform.title not in ACCEPTED[host.provider]] == []


def test_every_release_has_its_programs() -> None:
    assert {release_of(host) for host in HOSTS} == set(PACKAGES)


def test_where_no_programs_can_be_had_a_line_says_so(tmp_path: Path) -> None:
    """`make test` goes on from there, without root or Debian's apt."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.parsers"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"left out: .+\n", done.stdout)


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_a_role_claims_the_platforms_that_it_is_run_on(role: str) -> None:
    """meta/main.yml tells those who take the role alone."""
    claimed = load(ROOT / "roles" / role / "meta/main.yml")["galaxy_info"]["platforms"]
    versions = {entry["name"]: {str(version) for version in entry["versions"]} for entry in claimed}
    platforms = {host.platform for host in HOSTS if runs(role, host)}
    assert [p.name for p in platforms if not {"all", p.codename, p.release} & versions.get(p.distribution, set())] == []


@every_host
def test_every_expression_can_be_worked_out(host: Host, rendered: Rendered) -> None:
    """No undefined variable, no filter that stumbles: on no platform, with no provider."""
    failures = [f"{f['task']}: {f['message']}" for f in rendered.failures if f["host"] == host.name]
    assert not failures, "\n" + "\n".join(failures)
    assert rendered.root(host).exists(), rendered.output[-2000:]
    assert f"{host.name} " in rendered.output, rendered.output[-2000:]


def test_every_template_is_used() -> None:
    """A template that its role names nowhere is dead."""
    dead = []
    for role in ROLES:
        sources = [path for part in ("tasks", "templates") for path in (role / part).rglob("*") if path.is_file()]
        sources += (ROOT / "plugins").glob("*/*.py")
        texts = {path: path.read_text(encoding="utf-8") for path in sources}
        for template in role.glob("templates/**/*.j2"):
            # By its name, or by what stands before the last dot of it where a variable chooses between several.
            chosen = re.escape(template.stem.rpartition(".")[0]) + r"\.\{\{[^}]*\}\}\.j2"
            name = re.compile(rf"(?<![\w.-])({re.escape(template.name)}|{chosen})(?![\w.-])")
            if not any(name.search(text) for path, text in texts.items() if path != template):
                dead.append(str(template.relative_to(ROOT)))
    assert not dead


@dataclass(frozen=True)
class Check:
    """What reads the files of a pattern: it returns a line for each mistake. ``where`` tells which hosts get such."""

    pattern: str
    where: Callable[[Host], bool]
    faults: Callable[[Stage, Host], list[str]]


# A file that nothing here reads fails the test below.
CHECKS: dict[str, Check] = {}


def everywhere(host: Host) -> bool:  # noqa: ARG001
    return True


def compose(host: Host) -> bool:
    return host.provider == "compose"


def native(host: Host) -> bool:
    return host.provider == "native"


def wordpress(host: Host) -> bool:
    return not host.files


def installed(host: Host) -> bool:
    """Tell whether PHP and the FTP server are there: packages stay, also where no site needs them."""
    return native(host) or wordpress(host)


def systemd(host: Host) -> bool:
    return host.platform.manager == "systemd"


def openrc(host: Host) -> bool:
    return host.platform.manager == "openrc"


def check(
    name: str, pattern: str, where: Callable[[Host], bool] = everywhere
) -> Callable[[Callable[[Stage, Host], list[str]]], None]:
    """Register what reads the files of a pattern."""

    def register(function: Callable[[Stage, Host], list[str]]) -> None:
        CHECKS[name] = Check(pattern, where, function)

    return register


def complaint(path: Path, done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what a program said against a file; nothing if it took it."""
    return [f"{path.name}: {done.stdout.strip()}"] if done.returncode else []


def plain(directive: str) -> tuple[str, str]:
    """Return the change that takes a directive out, where it names something of the host itself."""
    return (rf"^\s*{directive}\s[^;\n]*;?\s*$", "")


def give_certificates(stage: Stage) -> None:
    """Put a certificate and its key wherever a configuration asks for one."""
    made = stage.outside / "any.crt", stage.outside / "any.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=any"
    subprocess.run(
        [*shlex.split(command), "-out", str(made[0]), "-keyout", str(made[1])], capture_output=True, check=True
    )
    # As nginx and vsftpd name them.
    asked = re.compile(r"^\s*(?:ssl_certificate|rsa_cert_file|rsa_private)(_key|_key_file)?[ =]([^;\s]+)", re.MULTILINE)
    for conf in stage.files(r".*\.conf"):
        for key, path in asked.findall(conf.read_text()):
            target = stage.outside / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made[1] if key else made[0], target)
    for path in made:
        path.unlink()


@check("nginx", r"etc/(slipway/)?nginx/.*")
def _nginx(stage: Stage, host: Host) -> list[str]:
    nginx = program(host, "nginx")
    give_certificates(stage)
    for name in ("mime.types", "fastcgi_params", "fastcgi.conf"):
        own = stage.outside / "etc/nginx" / name
        if not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(stage.parsers.root / "etc/nginx" / name, own)
    for path in stage.files(CHECKS["nginx"].pattern):
        if path.suffix in (".conf", ".inc"):
            # Names of the stack's network are unknown here, and so are the host's users.
            changes = [(r"(server|proxy_pass http://)\s*[a-z][\w.-]*:\d+", r"\1 127.0.0.1:1")]
            changes += [(r"/dev/std(out|err)", "/dev/null"), (r"(_temp_path) \S+/", r"\1 /tmp/")]
            stage.turn(path, plain("user"), plain("pid"), *changes)
    return [
        line
        for path in stage.files(r".*/nginx\.conf")
        for line in complaint(path, stage.parsers.run(nginx, "-t", "-q", "-c", stage.path(path)))
    ]


@check("php-fpm", r".*/(fpm-[^/]*|fpm/pool\.d/[^/]*|php-fpm\.d/[^/]*)\.conf", wordpress)
def _php_fpm(stage: Stage, host: Host) -> list[str]:
    fpm = program(host, "php-fpm*")
    lines = []
    for path in stage.files(CHECKS["php-fpm"].pattern):
        # The sites' users are the host's.
        owner = (r"^(user|group|listen\.owner|listen\.group)\s*=.*$", r"\1 = root")
        stage.turn(path, owner, (r"^error_log\s*=.*$", "error_log = /dev/null"))
        text = path.read_text()
        if "[global]" not in text:
            path.write_text(f"[global]\nerror_log = /dev/null\n{text}")
        done = stage.parsers.run(fpm, "--nodaemonize", "-R", "-n", "-t", "-y", stage.path(path))
        lines += complaint(path, done)
    return lines


@check("php.ini", r".*/(php\.ini|conf\.d/[^/]*\.ini)", installed)
def _php_ini(stage: Stage, host: Host) -> list[str]:
    php = program(host, "php[0-9]*", "php")
    lines = []
    for path in stage.files(CHECKS["php.ini"].pattern):
        done = stage.parsers.run(php, "-d", "display_startup_errors=1", "-c", stage.path(path), "-r", "echo 'fine';")
        if done.stdout != "fine":
            lines.append(f"{path.name}: {done.stdout}")
    return lines


@check("php", r".*\.php")
def _php(stage: Stage, host: Host) -> list[str]:
    php = program(host, "php[0-9]*", "php")
    return [
        line
        for path in stage.files(CHECKS["php"].pattern)
        for line in complaint(path, stage.parsers.run(php, "-n", "-l", stage.path(path)))
    ]


def has_data(host: Host) -> bool:
    return not host.apart


@check("mariadb", r".*\.cnf", has_data)
def _mariadb(stage: Stage, host: Host) -> list[str]:
    mariadbd = program(host, "mariadbd")
    lines = []
    for path in stage.files(CHECKS["mariadb"].pattern):
        done = stage.parsers.run(mariadbd, f"--defaults-file={stage.path(path)}", "--user=mysql", "--help", "--verbose")
        faults = [line for line in done.stdout.splitlines() if "[ERROR]" in line or "unknown variable" in line]
        lines += [f"{path.name}: {fault}" for fault in faults or (["failed"] if done.returncode else [])]
    return lines


# The server's file, and that of its users.
REDIS = r".*/(redis|valkey)\.conf", r".*/(redis_users|users\.acl)"


@check("redis", "|".join(REDIS), has_data)
def _redis(stage: Stage, host: Host) -> list[str]:
    """Start it: it reads its files at start only. Then be one of its users."""
    server = program(host, "redis-server")
    (path,), (users,) = (stage.files(pattern) for pattern in REDIS)
    questions = talk if wordpress(host) else admits_nobody
    # It drops nothing here: it reads the file as root, whoever owns it.
    acl = (r"^aclfile .*$", f"aclfile /{users.relative_to(stage.outside)}")
    local = [(rf"^{name} .*$", "") for name in ("port", "bind", "unixsocket", "unixsocketperm", "logfile", "dir")]
    stage.turn(path, acl, *local, (r"^(daemonize|supervised|pidfile) .*$", ""))
    with path.open("a") as file:
        file.write(f'\nport 0\nunixsocket {stage.inside}/redis\nunixsocketperm 777\nlogfile ""\ndir /tmp\n')
    command = stage.parsers.command(server, stage.path(path))
    with (
        socket.socket(socket.AF_UNIX) as connection,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running,
    ):
        connection.settimeout(5)

        def answers() -> bool:
            # The file is there before anyone listens. Who is dead won't.
            if running.poll() is None:
                connection.connect(str(stage.outside / "redis"))
            return True

        try:
            wait_until("Redis listens", answers, 30, pause=0.02)
            lines = ["ended before it listened"] if running.poll() is not None else list(questions(connection))
        finally:
            running.terminate()
        output, _ = running.communicate(timeout=10)
        if running.returncode:
            lines.append(output[-600:])
    return [f"{path.name}: {line}" for line in lines]


def asker(connection: socket.socket) -> Callable[..., str]:
    """Return what sends a command to Redis, and returns its answer."""

    def ask(*words: str) -> str:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return connection.recv(4096).decode(errors="replace")

    return ask


def admits_nobody(connection: socket.socket) -> Iterator[str]:
    """Yield that a client without a password is answered."""
    if not asker(connection)("PING").startswith("-"):
        yield "a client without a password is answered"


def talk(connection: socket.socket) -> Iterator[str]:
    """Yield what one site's user of the cache may do and shouldn't, or can't and should."""
    yield from admits_nobody(connection)
    ask = asker(connection)
    if ask("AUTH", "blog", SECRETS["cache"]) != "+OK\r\n":
        yield "the given password is refused"
    if ask("SET", "blog:x", "1") != "+OK\r\n":
        yield "a site can't write its own key"
    if not ask("INFO", "stats").startswith(("$", "=")):
        yield "a site can't see how the cache does"
    for words in (
        ("GET", "journal:x"),
        ("SCAN", "0"),
        ("RANDOMKEY",),
        ("FLUSHALL",),
        ("CONFIG", "GET", "dir"),
        ("SHUTDOWN", "NOSAVE"),
    ):
        if not ask(*words).startswith("-NOPERM"):
            yield f"a site may do {words[0]} beyond its own keys"


@check("vsftpd", r".*/vsftpd\.conf", installed)
def _vsftpd(stage: Stage, host: Host) -> list[str]:
    """Look after what vsftpd.conf(5) says of its lines, then ask the server for the names and values."""
    lines = []
    for path in stage.files(CHECKS["vsftpd"].pattern):
        for line in path.read_text().splitlines():
            if line and not line.startswith("#") and not re.fullmatch(r"[a-z_0-9]+=\S(.*\S)?", line):
                lines.append(f"{path.name}: {line!r} is no option")
            name, _, value = line.partition("=")
            if name.endswith("_enable") and value not in ("YES", "NO"):
                lines.append(f"{path.name}: {line!r} is neither YES nor NO")
    vsftpd = program(host, "vsftpd")
    give_certificates(stage)
    for path in stage.files(CHECKS["vsftpd"].pattern):
        stage.turn(path)
        # It answers on its standard input; without a client there it ends right after its options.
        with tempfile.TemporaryFile("w+") as answer:
            command = stage.parsers.command(vsftpd, stage.path(path), "-olisten=NO")
            subprocess.run(command, stdin=answer, capture_output=True, timeout=10, check=False)
            answer.seek(0)
            said = answer.read()
        if "must be started from inetd" not in said:
            lines.append(f"{path.name}: {said.strip()}")
    return lines


@check("compose", r"(away/)?opt/slipway/stack/(compose\.yml|compose\.d/[^/]*\.yml)", compose)
def _compose(stage: Stage, host: Host) -> list[str]:
    docker = program(host, "docker")
    paths = stage.files(CHECKS["compose"].pattern)
    folder = next(path.parent for path in paths if path.name == "compose.yml")
    files = [word for path in paths for word in ("-f", stage.path(path))]
    done = stage.parsers.run(
        docker, "compose", "--project-directory", stage.path(folder), *files, "config", "--format", "json"
    )
    if done.returncode:
        return [done.stdout]
    project = json.loads(done.stdout[done.stdout.index("{") :])
    return [f"{name}: {fault}" for name, service in project["services"].items() for fault in loose(service)]


def loose(service: dict[str, Any]) -> Iterator[str]:
    """Yield what a container of the stack lacks of what all shall have."""
    if not service.get("healthcheck"):
        yield "has no healthcheck"
    for limit in ("mem_limit", "cpus", "pids_limit"):
        if not service.get(limit):
            yield f"has no {limit}"
    if not service.get("read_only"):
        yield "may write to its root"
    if "ALL" not in service.get("cap_drop", []):
        yield "keeps capabilities"
    # Of what sites share, each has its part when all want it.
    if service.get("working_dir", "").startswith("/var/www") and not service.get("cpu_shares"):
        yield "may have the processor to itself"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "may gain privileges"
    if service.get("restart") in (None, "no"):
        yield "isn't restarted"
    if str(service.get("image", "")).endswith(":latest") or ":" not in str(service.get("image")):
        yield "has an image without a fixed tag"
    if any("docker.sock" in str(mount.get("source", "")) for mount in service.get("volumes", [])):
        yield "reaches the Engine"
    secret = re.compile("|".join(map(re.escape, SECRETS.values())))
    if secret.search(json.dumps(service, ensure_ascii=False)):
        yield "shows a secret"


INSTRUCTIONS = "ARG|FROM|RUN|COPY|ENV|ENTRYPOINT|CMD|STOPSIGNAL|USER|WORKDIR|LABEL|VOLUME|EXPOSE|HEALTHCHECK"


@check("dockerfile", r".*/Dockerfile", compose)
def _dockerfile(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["dockerfile"].pattern):
        text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
        for instruction in re.sub(r"\\\n", " ", text).strip().splitlines():
            word, _, rest = instruction.partition(" ")
            if not re.fullmatch(INSTRUCTIONS, word):
                lines.append(f"{path.parent.parent.name}/Dockerfile: {instruction!r} is no instruction")
            if word == "RUN":
                # What a build mounts, shellcheck can't look at.
                command = re.sub(r"^(--[a-z]+=\S+ )+(\. /run/\S+ && )?", "", rest)
                faults = shell_faults(f"#!/bin/sh\n{command}\n")
                lines += [f"{path.parent.parent.name}/Dockerfile: {fault}" for fault in faults]
    return lines


@check("openrc", r"etc/(init\.d|conf\.d)/[^/]*", openrc)
def _openrc(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    return [
        f"{path.name}: {fault}"
        for path in stage.files(CHECKS["openrc"].pattern)
        for fault in shell_faults(path.read_text())
    ]


@check("scripts", r".*/build/slipway-[^/]*|usr/local/libexec/.*", lambda host: compose(host) or openrc(host))
def _scripts(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["scripts"].pattern):
        text = path.read_text()
        if re.match(r"#!\S*python3", text):
            ast.parse(text)
        else:
            lines += [f"{path.name}: {fault}" for fault in shell_faults(text)]
    return lines


@check("systemd", r"etc/systemd/system/([^/]*\.(service|timer)|[^/]*\.service\.d/[^/]*\.conf)", systemd)
def _systemd(stage: Stage, host: Host) -> list[str]:
    program(host, "systemd-analyze")
    return stage.parsers.unit_faults(stage.outside / "etc/systemd/system", "/usr/bin/http-server")


@check("json", r".*\.json", lambda host: compose(host) or host.platform.family == "Alpine")
def _json(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["json"].pattern):
        try:
            json.loads(path.read_text())
        except ValueError as error:
            lines.append(f"{path.name}: {error}")
    return lines


@check("hosts", r"etc/(hosts|cloud/templates/hosts\..*)", native)
def _hosts(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = [line for path in stage.files(CHECKS["hosts"].pattern) for line in path.read_text().splitlines()]
    return [f"hosts: {line!r}" for line in lines if not re.fullmatch(r"(127\.0\.0\.1 [a-z0-9.-]+)?", line)]


# Files of lines with a fixed number of fields.
FIELDS = {"passwd": 7, "group": 4, "ftp_shadow": 9, "ftp/accounts": 9}


@check("accounts", rf".*/({'|'.join(FIELDS)})", installed)
def _accounts(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["accounts"].pattern):
        fields = next(count for name, count in FIELDS.items() if path.as_posix().endswith(f"/{name}"))
        for line in path.read_text().splitlines():
            if line.count(":") != fields - 1:
                lines.append(f"{path.name}: {line!r}")
            name, password = line.split(":")[:2]
            if name == "blog" and password.startswith("$6$"):
                # The salt, with the number of rounds before it if there is one.
                salt = password.removeprefix("$6$").rpartition("$")[0]
                command = ["openssl", "passwd", "-6", "-stdin", "-salt", salt]
                done = subprocess.run(command, input=SECRETS["ftp"], capture_output=True, text=True, check=True)
                if done.stdout.strip() != password:
                    lines.append(f"{path.name}: the given password is not the account's")
    return lines


@check("ftp accounts", r".*/ftp/accounts", native)
def _ftp_accounts(stage: Stage, host: Host) -> list[str]:
    """Log in, by the program that PAM asks where it has no module for it."""
    login = ROOT / "roles/ftp/files/ftp_login.py"
    lines = []
    for path in stage.files(CHECKS["ftp accounts"].pattern):
        for name, password, wanted in (
            ("blog", SECRETS["ftp"], 0 if wordpress(host) else 1),
            ("blog", SECRETS["ftp"] + " ", 1),
            ("blog", "", 1),
            ("root", SECRETS["ftp"], 1),
        ):
            command = [sys.executable, "-IS", str(login), str(path)]
            done = subprocess.run(command, input=password.encode(), env={"PAM_USER": name}, check=False)
            if done.returncode != wanted:
                lines.append(f"{name}: the answer to {password!r} is {done.returncode}")
    return lines


@check("pam", r".*/pam(\.d/[^/]*)?", installed)
def _pam(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    entry = re.compile(r"(#.*)?|@include \S+|(auth|account|session|password)\s+(\[.*\]|\w+)\s+\w+\.so(\s.*)?")
    return [
        f"{path.name}: {line!r}"
        for path in stage.files(CHECKS["pam"].pattern)
        for line in path.read_text().splitlines()
        if not entry.fullmatch(line)
    ]


@check("environment", r".*/\.env|etc/default/[^/]*", lambda host: compose(host) or host.platform.family == "Debian")
def _environment(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    return [
        f"{path.name}: {line!r}"
        for path in stage.files(CHECKS["environment"].pattern)
        for line in path.read_text().splitlines()
        if not re.fullmatch(r"(#.*)?|[A-Z_a-z][A-Z_a-z0-9]*=.*", line)
    ]


@check("cron", r"etc/(cron\.d|crontabs)/[^/]*", openrc)
def _cron(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["cron"].pattern):
        # A file of its own names the user; a user's table doesn't.
        user = "root " if path.parent.name == "cron.d" else ""
        entry = re.compile(rf"(#.*)?|([\d*/,-]+ ){{5}}{user}/\S+")
        lines += [f"{path.name}: {line!r}" for line in path.read_text().splitlines() if not entry.fullmatch(line)]
    return lines


@check("nftables", r"etc/slipway/(admit/.*|firewall\.nft)")
def _nftables(stage: Stage, host: Host) -> list[str]:
    nft = program(host, "nft")
    lines = []
    for path in stage.files(CHECKS["nftables"].pattern):
        stage.turn(path)
        lines += complaint(path, stage.parsers.run(nft, "-c", "-f", stage.path(path)))
    return lines


@check("sshd", r"etc/ssh/sshd_config\.d/[^/]*\.conf")
def _sshd(stage: Stage, host: Host) -> list[str]:
    sshd = program(host, "sshd")
    # As its service makes it.
    (stage.parsers.root / "run/sshd").mkdir(mode=0o755, exist_ok=True)
    wanted = {"passwordauthentication no", "kbdinteractiveauthentication no", "permitrootlogin no", "x11forwarding no"}
    wanted |= {"loglevel VERBOSE"} if host.files else {"loglevel INFO", "banner none"}
    lines = []
    for path in stage.files(CHECKS["sshd"].pattern):
        done = stage.parsers.run(sshd, "-T", "-f", stage.path(path))
        lines += complaint(path, done) or sorted(wanted.difference(done.stdout.splitlines()))
    return lines


@check("logrotate", r"etc/logrotate\.d/[^/]*", openrc)
def _logrotate(stage: Stage, host: Host) -> list[str]:
    logrotate = program(host, "logrotate")
    lines = []
    for path in stage.files(CHECKS["logrotate"].pattern):
        done = stage.parsers.run(logrotate, "--debug", "--state", "/dev/null", stage.path(path))
        # An unknown word is but a warning, and the status tells nothing.
        said = done.stdout.splitlines()
        lines += [line for line in said if line.startswith(("error:", f"warning: {stage.path(path)}"))]
    return lines


@check("sysctl", r"etc/sysctl\.d/[^/]*\.conf")
def _sysctl(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    return [
        f"{path.name}: {line!r}"
        for path in stage.files(CHECKS["sysctl"].pattern)
        for line in path.read_text().splitlines()
        if not re.fullmatch(r"#.*|[a-z][a-z0-9_]*(\.[A-Za-z0-9_/-]+)+ = \S.*", line)
    ]


def debian(host: Host) -> bool:
    return host.platform.family == "Debian"


@check("limits", r"etc/security/limits\.d/[^/]*\.conf", debian)
def _limits(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    return [
        f"{path.name}: {line!r}"
        for path in stage.files(CHECKS["limits"].pattern)
        for line in path.read_text().splitlines()
        if not re.fullmatch(r"#.*|(\*|root) (soft|hard|-) [a-z]+ \d+", line)
    ]


@check("coredump", r"etc/systemd/coredump\.conf\.d/[^/]*\.conf", systemd)
def _coredump(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["coredump"].pattern):
        parser = configparser.ConfigParser()
        parser.read_string(path.read_text())
        if dict(parser["Coredump"]) != {"storage": "none", "processsizemax": "0"}:
            lines.append(f"{path.name}: {dict(parser['Coredump'])}")
    return lines


@check("chrony", r"etc/chrony/chrony\.conf")
def _chrony(stage: Stage, host: Host) -> list[str]:
    chronyd = program(host, "chronyd")
    lines = []
    for path in stage.files(CHECKS["chrony"].pattern):
        stage.turn(path)
        lines += complaint(path, stage.parsers.run(chronyd, "-p", "-f", stage.path(path)))
    return lines


@check("apt", r"etc/apt/apt\.conf\.d/[^/]*", debian)
def _apt(stage: Stage, host: Host) -> list[str]:
    """Ask apt what it makes of it, after what the package says."""
    apt = program(host, "apt-config")
    lines = []
    for path in stage.files(CHECKS["apt"].pattern):
        package = (
            'Unattended-Upgrade::Origins-Pattern { "origin=Debian,label=Another"; };\n'
            'Unattended-Upgrade::Allowed-Origins { "Another:stable"; };\n'
        )
        path.write_text(f"{package}{path.read_text()}")
        done = stage.parsers.run(apt, "-c", stage.path(path), "dump")
        lines += complaint(path, done)
        listed = r'^Unattended-Upgrade::(?:Origins-Pattern|Allowed-Origins):: "(.*)";$'
        origins = re.findall(listed, done.stdout, re.MULTILINE)
        ids = [origin.partition(",")[0] for origin in origins]
        wanted = {
            "Debian": ["origin=Debian", "origin=Debian"],
            "Ubuntu": ["origin=Ubuntu", "origin=UbuntuESM", "origin=UbuntuESMApps", "origin=Ubuntu"],
        }
        if ids != wanted[host.platform.distribution]:
            lines.append(f"{path.name}: updates come from {origins}")
    return lines


@check("opaque", r".*/secrets/.*|.*/tls/[^/]*|etc/timezone")
def _opaque(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    """Take any content: secrets, certificates, and a word of its own."""
    return []


def test_every_check_has_a_host() -> None:
    assert [name for name, check in CHECKS.items() if not any(check.where(host) for host in HOSTS)] == []


@pytest.mark.parametrize(
    ("host", "name"),
    [
        pytest.param(host, name, id=f"{host.name}-{name}", marks=marks(host))
        for host in HOSTS
        for name, check in CHECKS.items()
        if check.where(host)
    ],
)
def test_the_program_it_is_for_takes_it(host: Host, name: str, stage: Stage) -> None:
    assert stage.files(CHECKS[name].pattern), f"{host.name} gets no such file"
    faults = CHECKS[name].faults(stage, host)
    assert not faults, "\n" + "\n".join(faults)


@every_host
def test_every_file_is_read_by_something(host: Host, rendered: Rendered) -> None:
    root = rendered.root(host)
    paths = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    patterns = [check.pattern for check in CHECKS.values() if check.where(host)]
    unread = [path for path in paths if not any(re.fullmatch(pattern, path) for pattern in patterns)]
    assert not unread, f"no check of this file reads: {unread}"


@every_host
def test_no_secret_lies_where_others_may_read_it(host: Host, rendered: Rendered) -> None:
    """A file with a secret in it is for its owner, and for its group at most."""
    root = rendered.root(host)
    bad = []
    for path in (path for path in root.rglob("*") if path.is_file()):
        text = path.read_text(errors="ignore")
        # As it is, and as JSON or YAML would write it.
        if any(secret in text or json.dumps(secret)[1:-1] in text for secret in SECRETS.values()):
            mode = path.stat().st_mode & 0o777
            if mode & 0o027:
                bad.append(f"{path.relative_to(root)}: {mode:o}")
    assert not bad


@every_host
def test_a_file_says_that_changes_are_lost(host: Host, rendered: Rendered) -> None:
    """Whoever opens a file of ours must see that the next run overwrites it."""
    root = rendered.root(host)
    silent = [
        str(path.relative_to(root))
        for path in root.rglob("*.conf")
        if "Written by Slipway" not in path.read_text(errors="ignore")[:400]
    ]
    assert not silent
