"""A registry that holds an image of every name, for the target: what the Engine takes from it, a stranger planted.

Run on the target, with the port as the first line of its standard input; at the end of that it prints what it was asked
for, as a JSON list of paths. It speaks as much of the registry's protocol as a pull takes.
"""

import hashlib
import io
import json
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(data: bytes) -> str:
    """Return what names these bytes in a registry."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer() -> bytes:
    """Return the archive of an image's only layer: one file that tells where it comes from."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("planted")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"yes\n"))
    return packed.getvalue()


LAYER = layer()
CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/planted"], "Labels": {"planted": "yes"}},
        "rootfs": {"type": "layers", "diff_ids": [digest(LAYER)]},
    }
).encode()
IMAGE = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(CONFIG),
            "digest": digest(CONFIG),
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                "size": len(LAYER),
                "digest": digest(LAYER),
            }
        ],
    }
).encode()
BLOBS = {digest(data): data for data in (LAYER, CONFIG)}
asked: list[str] = []


class Registry(BaseHTTPRequestHandler):
    """Answers for every name with the same image."""

    def do_GET(self) -> None:
        """Answer with a manifest, a blob, or that there is a registry."""
        asked.append(self.path)
        last = self.path.split("?")[0].rsplit("/", 1)[-1]
        kind, data = ("application/json", b"{}")
        if "/manifests/" in self.path:
            kind, data = MANIFEST, IMAGE
        elif "/blobs/" in self.path:
            kind, data = "application/octet-stream", BLOBS[last]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", digest(data))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        """Answer without the content."""
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing: what was asked is printed at the end."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.stdin.readline())), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    print(json.dumps(asked))
