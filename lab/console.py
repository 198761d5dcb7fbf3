"""A shell on the serial console of a VM that nothing else reaches yet."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

from lab.base import LabError

# Busybox's prompt for root, with the folder before it.
PROMPT = re.compile(rb"[~/] # ")
# Follows the exit code of each line. What the console echoes of the line has no number there.
ENDED = re.compile(rb"ended-(\d+)")


class Console:
    """The shell, from its first prompt on."""

    def __init__(self, path: Path, timeout: float) -> None:
        """Connect to the socket that QEMU made; return when the shell asks for a line, or after ``timeout`` seconds."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._unread = b""
        self._wait(PROMPT, timeout)

    def _wait(self, pattern: re.Pattern[bytes], timeout: float) -> tuple[re.Match[bytes], str]:
        """Read until the pattern is there; return it, and what stood before it."""
        end = time.monotonic() + timeout
        while not (found := pattern.search(self._unread)):
            self._socket.settimeout(max(end - time.monotonic(), 0.01))
            try:
                read = self._socket.recv(65536)
            except OSError as error:
                raise LabError(f"the console says no more: {error or 'it was closed'}") from None
            if not read:
                raise LabError("the VM ended")
            self._unread += read
        before, self._unread = self._unread[: found.start()], self._unread[found.end() :]
        return found, before.decode(errors="replace")

    def run(self, script: str, timeout: float) -> str:
        """Run a script (sh) and return what the console showed. It must have no tabs: the shell would complete words.

        ``timeout`` is in seconds. Raises :class:`LabError` with the last line that was printed if the script fails.
        """
        self._socket.settimeout(timeout)
        self._socket.sendall(f"sh -eu <<'END'; echo ended-$?\n{script}\nEND\n".encode())
        ended, shown = self._wait(ENDED, timeout)
        if int(ended[1]):
            raise LabError(f"setting the VM up failed: {(shown.strip() or 'no message').splitlines()[-1]}")
        return shown
