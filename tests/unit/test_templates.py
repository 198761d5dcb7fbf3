"""Every file that the roles write, for every platform and provider, read by the program it is for."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parsers import Parsers, Stage, parsers_of
from tests.rendered import HOSTS, SECRETS, Host, Rendered, every_host, supported
from tests.repository import ROLES, ROOT


def release_of(host: Host) -> str:
    return host.platform.codename or "trixie"


@pytest.fixture
def stage(host: Host, rendered: Rendered) -> Iterator[Stage]:
    parsers = parsers_of(release_of(host)) or Parsers(Path("/"), "")
    with parsers.stage(rendered.root(host)) as staged:
        yield staged


def program(stage: Stage, host: Host, *names: str) -> str:
    """Return a program of the host's release, or skip the test and say what is missing."""
    found = stage.parsers.which(*names) if stage.parsers.release else None
    if found is None:
        release = release_of(host)
        pytest.skip(f"no {names[0]} of Debian's {release} here; `python -m tools.parsers {release}` brings it")
    return found


def test_there_is_something_to_test() -> None:
    providers = {host.provider for host in supported()}
    assert "compose" in providers
    assert len(HOSTS) > len(providers)


@every_host
def test_every_expression_can_be_worked_out(host: Host, rendered: Rendered) -> None:
    """No undefined variable, no filter that stumbles: on no platform, with no provider."""
    failures = [f"{f['task']}: {f['message']}" for f in rendered.failures if f["host"] == host.name]
    assert not failures, "\n" + "\n".join(failures)
    assert rendered.root(host).exists(), rendered.output[-2000:]
    assert f"{host.name} " in rendered.output, rendered.output[-2000:]


def test_every_template_is_used() -> None:
    """A template that no host gets is dead, or its test is missing."""
    used = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/tasks/**/*.yml"))
    used += "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("roles/*/templates/**/*.j2"))
    names = [path.name.removesuffix(".j2") for role in ROLES for path in role.glob("templates/**/*.j2")]
    # By its name, or by what stands before its last dot where a variable chooses between several.
    assert not [n for n in names if n not in used and f"{n.rpartition('.')[0]}.{{{{" not in used]


# What each pattern's files are read by. A file that nothing here reads fails the test below.
CHECKS: dict[str, tuple[str, Callable[[Stage, Host], list[str]]]] = {}


def check(name: str, pattern: str) -> Callable[[Callable[[Stage, Host], list[str]]], None]:
    """Register what reads the files of a pattern; it returns a line for each mistake."""

    def register(function: Callable[[Stage, Host], list[str]]) -> None:
        CHECKS[name] = (pattern, function)

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
    nginx = program(stage, host, "nginx")
    give_certificates(stage)
    for name in ("mime.types", "fastcgi_params", "fastcgi.conf"):
        own = stage.outside / "etc/nginx" / name
        if not own.exists():
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(stage.parsers.root / "etc/nginx" / name, own)
    for path in stage.files(CHECKS["nginx"][0]):
        if path.suffix in (".conf", ".inc"):
            # Names of the stack's network are unknown here, and so are the host's users.
            changes = [(r"(server|proxy_pass http://)\s*[a-z][\w.-]*:\d+", r"\1 127.0.0.1:1")]
            stage.turn(path, (r"/dev/std(out|err)", "/dev/null"), plain("user"), plain("pid"), *changes)
    return [
        line
        for path in stage.files(r".*/nginx\.conf")
        for line in complaint(path, stage.parsers.run(nginx, "-t", "-q", "-c", stage.path(path)))
    ]


@check("php-fpm", r".*/(fpm-[^/]*|fpm/pool\.d/[^/]*|php-fpm\.d/[^/]*|php-fpm)\.conf")
def _php_fpm(stage: Stage, host: Host) -> list[str]:
    fpm = program(stage, host, "php-fpm*")
    lines = []
    for path in stage.files(CHECKS["php-fpm"][0]):
        # The sites' users are the host's.
        owner = (r"^(user|group|listen\.owner|listen\.group)\s*=.*$", r"\1 = root")
        stage.turn(path, owner, (r"^error_log\s*=.*$", "error_log = /dev/null"))
        text = path.read_text()
        if "[global]" not in text:
            path.write_text(f"[global]\nerror_log = /dev/null\n{text}")
        done = stage.parsers.run(fpm, "--nodaemonize", "-R", "-n", "-t", "-y", stage.path(path))
        lines += complaint(path, done)
    return lines


@check("php.ini", r".*/(php\.ini|conf\.d/[^/]*\.ini|mods-available/[^/]*\.ini)")
def _php_ini(stage: Stage, host: Host) -> list[str]:
    php = program(stage, host, "php[0-9]*", "php")
    lines = []
    for path in stage.files(CHECKS["php.ini"][0]):
        done = stage.parsers.run(php, "-d", "display_startup_errors=1", "-c", stage.path(path), "-r", "echo 'fine';")
        if done.stdout != "fine":
            lines.append(f"{path.name}: {done.stdout}")
    return lines


@check("php", r".*\.php")
def _php(stage: Stage, host: Host) -> list[str]:
    php = program(stage, host, "php[0-9]*", "php")
    return [
        line
        for path in stage.files(CHECKS["php"][0])
        for line in complaint(path, stage.parsers.run(php, "-n", "-l", stage.path(path)))
    ]


@check("mariadb", r".*\.cnf")
def _mariadb(stage: Stage, host: Host) -> list[str]:
    mariadbd = program(stage, host, "mariadbd")
    lines = []
    for path in stage.files(CHECKS["mariadb"][0]):
        done = stage.parsers.run(mariadbd, f"--defaults-file={stage.path(path)}", "--user=mysql", "--help", "--verbose")
        faults = [line for line in done.stdout.splitlines() if "[ERROR]" in line or "unknown variable" in line]
        lines += [f"{path.name}: {fault}" for fault in faults or (["failed"] if done.returncode else [])]
    return lines


@check("redis", r".*/(redis|valkey|slipway)\.conf|.*/(redis_users|users\.acl)")
def _redis(stage: Stage, host: Host) -> list[str]:
    """Start it: it reads its files at start only. Then be one of its users."""
    server = program(stage, host, "redis-server")
    lines = []
    for path in stage.files(r".*/(redis|valkey|slipway)\.conf"):
        if "maxmemory" not in path.read_text():
            continue
        secrets = next(iter(stage.files(r".*/(redis_users|users\.acl)")), None)
        # It drops nothing here: it reads the file as root, whoever owns it.
        acl = (r"^aclfile .*$", f"aclfile /{secrets.relative_to(stage.outside)}" if secrets else "")
        local = [(rf"^{name} .*$", "") for name in ("port", "bind", "unixsocket", "unixsocketperm", "logfile", "dir")]
        stage.turn(path, acl, *local, (r"^(daemonize|supervised|pidfile) .*$", ""))
        with path.open("a") as file:
            file.write(f'\nport 0\nunixsocket {stage.inside}/redis\nunixsocketperm 777\nlogfile ""\ndir /tmp\n')
        command = stage.parsers.command(server, stage.path(path))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
            try:
                connection = connect(stage.outside / "redis", running)
                if connection is None:
                    lines.append(f"{path.name}: no answer")
                else:
                    with connection:
                        lines += [f"{path.name}: {line}" for line in talk(connection)]
            finally:
                running.terminate()
            output, _ = running.communicate(timeout=10)
            if running.returncode:
                lines.append(f"{path.name}: {output[-600:]}")
    return lines


def connect(path: Path, running: subprocess.Popen[str], seconds: float = 30) -> socket.socket | None:
    """Return a connection to a server's socket; none if it dies or doesn't listen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and running.poll() is None:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        try:
            connection.connect(str(path))
        except OSError:
            # The file is there before anyone listens.
            connection.close()
            time.sleep(0.02)
        else:
            return connection
    return None


def talk(connection: socket.socket) -> Iterator[str]:
    """Yield what one site's user of the cache may do and shouldn't, or can't and should."""

    def ask(*words: str) -> str:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return connection.recv(4096).decode(errors="replace")

    if not ask("PING").startswith("-"):
        yield "a client without a password is answered"
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


@check("vsftpd", r".*/vsftpd\.conf")
def _vsftpd(stage: Stage, host: Host) -> list[str]:
    """Look after what vsftpd.conf(5) says of its lines, then ask the server for the names and values."""
    lines = []
    for path in stage.files(CHECKS["vsftpd"][0]):
        for line in path.read_text().splitlines():
            if line and not line.startswith("#") and not re.fullmatch(r"[a-z_0-9]+=\S(.*\S)?", line):
                lines.append(f"{path.name}: {line!r} is no option")
            name, _, value = line.partition("=")
            if name.endswith("_enable") and value not in ("YES", "NO"):
                lines.append(f"{path.name}: {line!r} is neither YES nor NO")
    vsftpd = program(stage, host, "vsftpd")
    give_certificates(stage)
    for path in stage.files(CHECKS["vsftpd"][0]):
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


@check("compose", r"opt/slipway/stack/(compose\.yml|compose\.d/[^/]*\.yml)")
def _compose(stage: Stage, host: Host) -> list[str]:
    docker = program(stage, host, "docker")
    folder = stage.outside / "opt/slipway/stack"
    if not (folder / "compose.yml").exists():
        return []
    files = [word for path in stage.files(CHECKS["compose"][0]) for word in ("-f", stage.path(path))]
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


@check("dockerfile", r".*/Dockerfile")
def _dockerfile(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["dockerfile"][0]):
        text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)
        for instruction in re.sub(r"\\\n", " ", text).strip().splitlines():
            word, _, rest = instruction.partition(" ")
            if not re.fullmatch(INSTRUCTIONS, word):
                lines.append(f"{path.parent.parent.name}/Dockerfile: {instruction!r} is no instruction")
            if word == "RUN":
                done = subprocess.run(["sh", "-n"], input=rest, capture_output=True, text=True, check=False)
                lines += [f"{path.parent.parent.name}/Dockerfile: {done.stderr}"] if done.returncode else []
    return lines


def shell_faults(path: Path, *options: str) -> list[str]:
    """Return what the shell and shellcheck have against a script."""
    done = subprocess.run(["sh", "-n", str(path)], capture_output=True, text=True, check=False)
    lines = [done.stderr] if done.returncode else []
    shellcheck = shutil.which("shellcheck")
    if shellcheck:
        command = [shellcheck, "--severity=warning", "--format=gcc", *options, str(path)]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        lines += checked.stdout.splitlines()
    return lines


@check("openrc", r"etc/(init\.d|conf\.d)/[^/]*")
def _openrc(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["openrc"][0]):
        # OpenRC reads the variables that look unused, and sets those that look unset.
        lines += shell_faults(path, "--shell=dash", "--exclude=SC2034,SC2154")
    return lines


@check("shell", r".*/build/slipway-[^/]*|.*\.sh|usr/local/(s?bin|lib|libexec)/.*")
def _shell(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    return [
        line
        for path in stage.files(CHECKS["shell"][0])
        if path.read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env sh"))
        for line in shell_faults(path)
    ]


@check("systemd", r"etc/systemd/.*\.(service|timer|conf|path|target|mount)")
def _systemd(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    paths = [str(path) for path in stage.files(r"etc/systemd/system/[^/]*\.(service|timer)")]
    if not paths:
        return []
    done = subprocess.run(
        [analyze, "verify", "--man=no", *paths],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    # Programs and units of the host itself are missing here; what is misspelt is what counts.
    said = [line for line in done.stdout.splitlines() if stage.outside.name in line]
    return [line for line in said if re.search(r"Unknown|Failed to parse|Invalid|not a valid|Missing", line)]


@check("json", r".*\.json")
def _json(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["json"][0]):
        try:
            json.loads(path.read_text())
        except ValueError as error:
            lines.append(f"{path.name}: {error}")
    return lines


@check("yaml", r"(?!opt/slipway/stack/compose).*\.ya?ml")
def _yaml(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["yaml"][0]):
        try:
            yaml.safe_load(path.read_text())
        except yaml.YAMLError as error:
            lines.append(f"{path.name}: {error}")
    return lines


# Files of lines with a fixed number of fields.
FIELDS = {"passwd": 7, "group": 4, "ftp_shadow": 9, "shadow": 9, "ftp/accounts": 9}


@check("accounts", rf".*/({'|'.join(FIELDS)})")
def _accounts(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    lines = []
    for path in stage.files(CHECKS["accounts"][0]):
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


@check("ftp accounts", r".*/ftp/accounts")
def _ftp_accounts(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    """Log in, by the program that PAM asks where it has no module for it."""
    login = ROOT / "roles/ftp/files/ftp_login.py"
    lines = []
    for path in stage.files(CHECKS["ftp accounts"][0]):
        for name, password, wanted in (
            ("blog", SECRETS["ftp"], 0),
            ("blog", SECRETS["ftp"] + " ", 1),
            ("blog", "", 1),
            ("root", SECRETS["ftp"], 1),
        ):
            command = [sys.executable, "-IS", str(login), str(path)]
            done = subprocess.run(command, input=password.encode(), env={"PAM_USER": name}, check=False)
            if done.returncode != wanted:
                lines.append(f"{name}: the answer to {password!r} is {done.returncode}")
    return lines


@check("pam", r".*/pam(\.d/[^/]*)?")
def _pam(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    entry = re.compile(r"(#.*)?|@include \S+|(auth|account|session|password)\s+(\[.*\]|\w+)\s+\w+\.so(\s.*)?")
    return [
        f"{path.name}: {line!r}"
        for path in stage.files(CHECKS["pam"][0])
        for line in path.read_text().splitlines()
        if not entry.fullmatch(line)
    ]


@check("environment", r".*/\.env|etc/default/[^/]*")
def _environment(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    return [
        f"{path.name}: {line!r}"
        for path in stage.files(CHECKS["environment"][0])
        for line in path.read_text().splitlines()
        if not re.fullmatch(r"(#.*)?|[A-Z_a-z][A-Z_a-z0-9]*=.*", line)
    ]


@check("cron", r"etc/(cron\.d|crontabs)/[^/]*")
def _cron(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    return [
        f"{path.name}: {line!r}"
        for path in stage.files(CHECKS["cron"][0])
        for line in path.read_text().splitlines()
        if not re.fullmatch(r"(#.*)?|\w+=.*|([\d*/,-]+\s+){5}\S.*", line)
    ]


@check("sshd", r"etc/ssh/sshd_config(\.d/[^/]*)?")
def _sshd(stage: Stage, host: Host) -> list[str]:
    sshd = program(stage, host, "sshd")
    key = stage.outside / "host-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return [
        line
        for path in stage.files(CHECKS["sshd"][0])
        for line in complaint(path, stage.parsers.run(sshd, "-t", "-h", stage.path(key), "-f", stage.path(path)))
    ]


@check("sudo", r"etc/sudoers\.d/[^/]*")
def _sudo(stage: Stage, host: Host) -> list[str]:
    visudo = program(stage, host, "visudo")
    return [
        line
        for path in stage.files(CHECKS["sudo"][0])
        for line in complaint(path, stage.parsers.run(visudo, "-cf", stage.path(path)))
    ]


@check("nftables", r"etc/(nftables(\.d/.*|\.nft|\.conf)|slipway/admit/.*)")
def _nftables(stage: Stage, host: Host) -> list[str]:
    nft = program(stage, host, "nft")
    for path in stage.files(CHECKS["nftables"][0]):
        stage.turn(path)
    return [
        line
        for path in stage.files(CHECKS["nftables"][0])
        for line in complaint(path, stage.parsers.run(nft, "-c", "-f", stage.path(path)))
    ]


@check("logrotate", r"etc/logrotate\.d/[^/]*")
def _logrotate(stage: Stage, host: Host) -> list[str]:
    logrotate = program(stage, host, "logrotate")
    lines = []
    for path in stage.files(CHECKS["logrotate"][0]):
        done = stage.parsers.run(logrotate, "--debug", "--state", "/dev/null", stage.path(path))
        lines += [line for line in done.stdout.splitlines() if line.startswith("error:")]
    return lines


@check("opaque", r".*/secrets/.*|.*/tls/[^/]*|etc/apk/.*|etc/(hostname|hosts|locale\.conf|timezone|motd)")
def _opaque(stage: Stage, host: Host) -> list[str]:  # noqa: ARG001
    """Take any content: secrets, certificates, and lists of a word a line."""
    return []


@every_host
@pytest.mark.parametrize("name", CHECKS)
def test_the_program_it_is_for_takes_it(host: Host, name: str, rendered: Rendered, request: Any) -> None:
    pattern, function = CHECKS[name]
    root = rendered.root(host)
    if not any(re.fullmatch(pattern, str(path.relative_to(root))) for path in root.rglob("*")):
        return
    faults = function(request.getfixturevalue("stage"), host)
    assert not faults, "\n" + "\n".join(faults)


@every_host
def test_every_file_is_read_by_something(host: Host, rendered: Rendered) -> None:
    root = rendered.root(host)
    paths = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    patterns = [pattern for pattern, _ in CHECKS.values()]
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
