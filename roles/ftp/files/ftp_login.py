#!/usr/bin/python3 -IS
"""Tells PAM whether a password opens an FTP account: exit code 0, or 1.

    pam_exec.so expose_authtok ftp-login FILE

PAM gives the account's name in PAM_USER and the password on the standard input. FILE has a line for each account,
``name:rounds:salt:hash``: PBKDF2-HMAC-SHA512 of the password, in hexadecimal. So an account opens FTP and nothing
else: the system's own user of that name has no password.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sys
from pathlib import Path

# As costly as a real one, and no password's: an unknown name is refused no sooner than a wrong password.
UNKNOWN = "210000:nobody:"


def entry_of(name: str, accounts: str) -> str:
    """Return ``rounds:salt:hash`` of an account, given the text of FILE."""
    for line in accounts.splitlines():
        account, _, entry = line.partition(":")
        if account == name and not line.startswith("#"):
            return entry
    return UNKNOWN


def opens(entry: str, password: bytes) -> bool:
    """Tell whether a password is the entry's."""
    rounds, salt, wanted = entry.split(":")
    derived = hashlib.pbkdf2_hmac("sha512", password, salt.encode(), int(rounds))
    return hmac.compare_digest(derived.hex(), wanted)


def main() -> int:
    """Return 0 for the right password, else 1."""
    # Some releases of PAM end it with a zero byte.
    password = sys.stdin.buffer.read(4096).rstrip(b"\0")
    accounts = Path(sys.argv[1]).read_text(encoding="utf-8")
    return 0 if opens(entry_of(os.environ.get("PAM_USER", ""), accounts), password) else 1


if __name__ == "__main__":
    sys.exit(main())
