"""A FastCGI request, sent on the target itself, as nginx would send it."""

from __future__ import annotations

import json
import shlex
import urllib.parse

from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site

# Reads socket, parameters and body as JSON; prints what came back. One record each: parameters and form are small.
SCRIPT = r"""
import json, socket, struct, sys
path, parameters, body = json.load(sys.stdin)
def record(kind, content=b""):
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content
def length(text):
    return struct.pack("!I", len(text) | 1 << 31)
pairs = b"".join(length(k) + length(v) + k + v for k, v in ((k.encode(), v.encode()) for k, v in parameters.items()))
begin = struct.pack("!HB5x", 1, 0)
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(30)
    client.connect(path)
    content = record(5, body.encode()) if body else b""
    client.sendall(record(1, begin) + record(4, pairs) + record(4) + content + record(5))
    stream = client.makefile("rb")
    while True:
        head = stream.read(8)
        if len(head) < 8:
            break
        _, kind, _, size, padding = struct.unpack("!BBHHBx", head)
        content = stream.read(size)
        stream.read(padding)
        if kind == 6:
            sys.stdout.buffer.write(content)
        if kind == 3:
            break
"""


def visit(
    machine: Machine,
    socket: str,
    site: Site,
    path: str,
    script: str,
    form: dict[str, str] | None = None,
    cookie: str = "",
) -> str:
    """Return headers and body of a page that PHP makes; ``script`` is the file below the web root.

    With a form, it is sent; a cookie, such as ``name=value``, as well.
    """
    root = f"/var/www/{site.name}/public"
    body = urllib.parse.urlencode(form or {})
    parameters = {
        "SCRIPT_FILENAME": f"{root}/{script}",
        "SCRIPT_NAME": f"/{script}",
        "DOCUMENT_ROOT": root,
        "REQUEST_METHOD": "POST" if form else "GET",
        "CONTENT_TYPE": "application/x-www-form-urlencoded" if form else "",
        "CONTENT_LENGTH": str(len(body)) if form else "",
        "REQUEST_URI": path,
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": site.domain,
        "HTTP_HOST": site.domain,
        "HTTPS": "on",
        **({"HTTP_COOKIE": cookie} if cookie else {}),
        "REMOTE_ADDR": "192.0.2.1",
    }
    return machine.feed(f"python3 -c {shlex.quote(SCRIPT)}", json.dumps([socket, parameters, body]))
