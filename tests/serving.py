"""A real nginx that serves by a host's rendered configuration, with a real PHP-FPM behind it.

The programs are those of the host's release (``tests/parsers.py``). nginx serves as root, so that it is its
configuration alone that keeps a request from a file.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.waiting import wait_until
from tests.acceptance.web import Answer
from tests.parsers import Stage, parsers_with
from tests.rendered import Host, render

# What a site's PHP answers: what it was told, and, asked for it, after some seconds or with many bytes.
PROGRAM = """<?php
usleep(1000 * (int) ($_GET['wait'] ?? 0));
foreach ((array) ($_GET['header'] ?? []) as $line) { header($line); }
if (isset($_GET['log'])) { file_put_contents($_GET['log'], "x", FILE_APPEND); }
echo json_encode($_SERVER);
"""
POOL = """[global]
error_log = /dev/null
[{name}]
listen = {socket}
user = root
group = root
pm = static
pm.max_children = 4
"""
# Users of the sites, in the order of the list.
UIDS = {"blog": 20001, "journal": 20002}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Served:
    """A host whose sites are served on this machine."""

    stage: Stage
    static_dir: str
    https: int
    http: int

    def root(self, site: str) -> Path:
        """Return a site's web root."""
        wordpress = self.stage.outside / "var/www" / site / "public"
        return wordpress if site in UIDS else self.stage.outside / self.static_dir.lstrip("/") / site / "public"

    def write(self, site: str, path: str, content: str = "content") -> Path:
        """Write a file of a site as its own user."""
        file = self.root(site) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        owner = UIDS.get(site, 0)
        for one in (file, *(parent for parent in file.parents if self.root(site) in (parent, *parent.parents))):
            os.chown(one, owner, owner)
        return file

    def link(self, site: str, path: str, target: Path) -> None:
        """Make a link in a web root as the site's own user; it leads there for who serves."""
        link = self.root(site) / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        # Relative, so that it leads there from in and outside of the folder of the programs.
        link.symlink_to(os.path.relpath(target, link.parent))
        owner = UIDS.get(site, 0)
        os.chown(link, owner, owner, follow_symlinks=False)

    def connect(self, name: str, alpn: str = "http/1.1") -> ssl.SSLSocket:
        """Return a connection whose handshake names a site."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        plain = socket.create_connection(("127.0.0.1", self.https), timeout=20)
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def ask(
        self,
        name: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        body: bytes | None = None,
        *,
        plain: bool = False,
    ) -> Answer:
        """Ask a site once; raises OSError where nothing is answered."""
        sock = socket.create_connection(("127.0.0.1", self.http), timeout=20) if plain else self.connect(name)
        with sock:
            connection = http.client.HTTPConnection(name)
            connection.sock = sock
            try:
                connection.request(method, path, body, {"Host": name, "Connection": "close", **(headers or {})})
                answer = connection.getresponse()
                return Answer(answer.status, answer.headers, answer.read())
            except http.client.HTTPException as error:
                raise ConnectionError(repr(error)) from error

    def told(self, name: str, path: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return what a site's PHP was told of a request."""
        answer = self.ask(name, path, headers)
        assert answer.status == 200, (answer.status, answer.text[:400])
        found: dict[str, Any] = answer.json()
        return found

    def log(self, name: str) -> str:
        """Return what nginx wrote to a log, ``access`` or ``error``."""
        return (self.stage.outside / f"{name}.log").read_text()


class _Echo(http.server.BaseHTTPRequestHandler):
    """The other server behind nginx: it answers with the headers that it got."""

    def do_GET(self) -> None:
        body = json.dumps(dict(self.headers.items())).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", 'W/"26676-11-2026-11-29T00:00:00.000Z"')
        self.send_header("Last-Modified", "Sun, 29 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _running(stage: Stage, *command: str) -> Iterator[subprocess.Popen[str]]:
    with (
        (stage.outside / "output").open("a") as output,
        subprocess.Popen(stage.parsers.command(*command), stdout=output, stderr=output, text=True) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=20)


def _certificate(stage: Stage) -> None:
    paths = {path for conf in stage.files(r"etc/.*\.conf") for path in _named(conf.read_text())}
    made = stage.outside / "any.crt", stage.outside / "any.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=any"
    subprocess.run([*command.split(), "-out", str(made[0]), "-keyout", str(made[1])], capture_output=True, check=True)
    for path in paths:
        target = stage.outside / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(made[path.endswith(".key")].read_bytes())


def _named(text: str) -> list[str]:
    return re.findall(r"ssl_certificate(?:_key)? ([^;\s]+);", text)


def _turned(stage: Stage, served: Served, proxied: int) -> str:
    """Turn nginx's files to the stage; return the path of the first as nginx sees it."""
    (main,) = stage.files(r"etc/(slipway/)?nginx/nginx\.conf")
    log = f"{stage.inside}/access.log"
    for path in stage.files(r"etc/(slipway/)?nginx/.*\.(conf|inc)"):
        stage.turn(
            path,
            (r"^\s*listen \[::\]:.*\n", ""),
            (r"listen \d+ ssl", f"listen 127.0.0.1:{served.https} ssl"),
            (r"listen \d+(?=;| default_server;)", f"listen 127.0.0.1:{served.http}"),
            (r"listen 127\.0\.0\.1:8080", f"listen unix:{stage.inside}/health.sock"),
            (r"unix:/run/", f"unix:{stage.inside}/run/"),
            (r"(set \$upstream|server) (?:127\.0\.0\.1|static-\w+):\d+", rf"\1 127.0.0.1:{proxied}"),
            (r"/var/cache/nginx", f"{stage.inside}/temp"),
            (r"^user .*$", ""),
            (r"^pid .*$", f"pid {stage.inside}/nginx.pid; user root; daemon off;"),
            (r"access_log (?!off)\S+", f"access_log {log}"),
            (r"error_log \S+", f"error_log {stage.inside}/error.log"),
        )
    return stage.path(main)


# Files of the user's own, below the folder for them.
CUSTOM = {
    "http/tests.conf": "map $arg_own $own { default none; yes $remote_addr; }\n",
    "sites/blog/tests.conf": (
        "location = /own { return 200 $own; }\n"
        "location ~ ^/private/.*\\.php$ { return 403; }\n"
        "location ~ \\.bak$ { return 200 shown; }\n"
        "location ^~ /archive/ { }\n"
    ),
    "sites/docs/tests.conf": "location = /own { return 200 docs; }\n",
    "sites/manual/tests.conf": "location = /own { return 200 manual; }\n",
    "sites/nobody/tests.conf": "what is of no site, is not read\n",
}


@contextmanager
def serving(host: Host) -> Iterator[Served]:
    """Serve a host's sites meanwhile; skips the test where its release's programs aren't here."""
    release = host.platform.reader
    parsers, nginx = parsers_with(release, "nginx")
    _, fpm = parsers_with(release, "php-fpm*")
    with ExitStack() as stack:
        stage = stack.enter_context(parsers.stage(render(host).root(host)))
        static_dir = host.variables.get("static_site_dir", "/srv/slipway/static")
        served = Served(stage, static_dir, free_port(), free_port())
        (stage.outside / "temp").mkdir()
        for path, text in CUSTOM.items():
            file = stage.outside / "etc/slipway/nginx/custom" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        _certificate(stage)
        for site in (site["name"] for site in host.sites):
            served.write(site, "index.php" if site in UIDS else "index.html", PROGRAM if site in UIDS else "front")
        other = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Echo))
        threading.Thread(target=other.serve_forever, daemon=True).start()
        stack.callback(other.shutdown)
        config = _turned(stage, served, other.server_port)
        texts = [path.read_text() for path in stage.files(r"etc/slipway/nginx/sites/.*")]
        sockets = sorted({found for text in texts for found in re.findall(r"server unix:(\S+)", text)})
        for number, path in enumerate(sockets):
            (stage.parsers.root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            pool = stage.outside / f"pool-{number}.conf"
            pool.write_text(POOL.format(name=f"pool{number}", socket=path))
            stack.enter_context(_running(stage, fpm, "--nodaemonize", "-R", "-n", "-y", stage.path(pool)))
        process = stack.enter_context(_running(stage, nginx, "-c", config))

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError((stage.outside / "output").read_text())
            with socket.create_connection(("127.0.0.1", served.https), timeout=5):
                return all((stage.parsers.root / path.lstrip("/")).exists() for path in sockets)

        wait_until("nginx and PHP listen", answers, 30, pause=0.05)
        yield served
