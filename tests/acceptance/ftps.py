"""An FTPS client that connects to the target's address and verifies the certificate for the site's name."""

from __future__ import annotations

import ftplib
import io
import ssl
from pathlib import Path

from tests.acceptance.summary import Site
from tests.acceptance.waiting import wait_until

PORT = 21
TIMEOUT = 20  # seconds for one answer


class Ftps(ftplib.FTP_TLS):
    """Explicit FTPS, control and data both."""

    def __init__(self, site: Site, ca: Path) -> None:
        """Connect; nothing is sent before :meth:`enter`."""
        super().__init__(context=ssl.create_default_context(cafile=str(ca)), timeout=TIMEOUT)
        wait_until("the places of closed connections are free", lambda: self._connected(site.address), TIMEOUT)
        # ftplib verifies the certificate for this name.
        self.host = site.domain

    def _connected(self, address: str) -> bool:
        """Tell whether the server took the connection: an address has a number of them, closing ones among them."""
        try:
            self.connect(address, PORT)
        except ftplib.error_temp as error:
            if not str(error).startswith("421"):
                raise
            self.close()
            return False
        return True

    def enter(self, user: str, password: str) -> str:
        """Secure the connection, log in and protect the data; return the answer to the login."""
        self.auth()
        answer = self.login(user, password, secure=False)
        self.prot_p()
        return answer

    def put(self, path: str, content: bytes) -> None:
        """Upload a file."""
        self.storbinary(f"STOR {path}", io.BytesIO(content))

    def fetch(self, path: str) -> bytes:
        """Download a file."""
        parts: list[bytes] = []
        self.retrbinary(f"RETR {path}", parts.append)
        return b"".join(parts)
