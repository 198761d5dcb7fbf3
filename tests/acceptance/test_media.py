"""Large photos, several at once: they are in the library with all their sizes, and nobody else notices."""

from __future__ import annotations

import http.client
import json
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import pytest

from tests.acceptance.machine import Machine
from tests.acceptance.summary import Site, Summary
from tests.acceptance.web import Client, connect
from tests.acceptance.wordpress import Author

pytestmark = [pytest.mark.writes, pytest.mark.slow]

AT_ONCE = 3
# Seconds for a photo: all sizes are made before the answer, by one processor after the other.
PATIENCE = 330


def photo(width: int, height: int) -> bytes:
    """Return a grey JPEG in colours (ITU-T T.81, baseline): small on the way, and as large as any in memory."""

    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack("!BBH", 0xFF, marker, len(content) + 2) + content

    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    # Both tables know one code, a bit of 0, for "as before" and "nothing more": two bits a block.
    tables = b"".join(bytes([kind, 1]) + bytes(15) + b"\0" for kind in (0x00, 0x10))
    blocks = 3 * (width // 8) * (height // 8)
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\0" + bytes([1]) * 64),
            segment(0xC0, struct.pack("!BHHB", 8, height, width, 3) + components),
            segment(0xC4, tables),
            segment(0xDA, b"\x03" + b"".join(bytes([number, 0]) for number in (1, 2, 3)) + b"\0\x3f\0"),
            bytes(blocks * 2 // 8),
            b"\xff\xd9",
        ]
    )


def send(author: Author, name: str, content: bytes) -> tuple[int, Any]:
    """Put a photo into the library; return the status and what the REST API says."""
    site = author.client.site
    headers = {
        "Host": site.domain,
        "Authorization": f"Basic {author.basic}",
        "Content-Type": "image/jpeg",
        "Content-Disposition": f'attachment; filename="{name}"',
        "Connection": "close",
    }
    with connect(site, author.client.context(), site.domain) as secure:
        secure.settimeout(PATIENCE)
        connection = http.client.HTTPConnection(site.domain)
        connection.sock = secure
        connection.request("POST", "/index.php?rest_route=/wp/v2/media", content, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


@pytest.mark.full
def test_large_photos_at_once(machine: Machine, summary: Summary, authors: Callable[[Site], Author], mark: str) -> None:
    site, *others = summary.of_type("wordpress")
    author = authors(site)
    before = [process.line for process in machine.main_processes("php")]
    content = photo(8000, 6000)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(partial(send, author, f"{mark}-{number}.jpg", content)) for number in range(AT_ONCE)]
        # Once a second: without a pause, this would take the processors that the photos need.
        while wait(jobs, timeout=1).not_done:
            # Its own workers are as few as the photos.
            for other in others:
                assert Client(other, summary.ca_certificate).get("/wp-login.php").status == 200
        sent = [job.result() for job in jobs]
    try:
        assert [status for status, _ in sent] == [201] * AT_ONCE, sent
        for _, said in sent:
            assert {"thumbnail", "medium", "large"} <= set(said["media_details"]["sizes"])
        assert [process.line for process in machine.main_processes("php")] == before
    finally:
        for _, said in sent:
            if "id" in (said or {}):
                author.api("DELETE", f"/wp/v2/media/{said['id']}", force="true")
