#!/usr/bin/python3 -IS
"""Tells PAM whether a password opens an FTP account: exit code 0, or 1.

    pam_exec.so expose_authtok ftp-login FILE

PAM gives the account's name in PAM_USER and the password on the standard input. FILE is like shadow(5), with a line for
each account, ``name:hash:...``. So an account opens FTP and nothing else: the system's own user of that name has no
password.
"""

from __future__ import annotations

import ctypes
import hmac
import os
import sys
from pathlib import Path

# As costly as a real one, and no password's: an unknown name is refused no sooner than a wrong password.
UNKNOWN = "$6$rounds=200000$nobody$"


def hash_of(name: str, accounts: str) -> str:
    """Return the hash of an account's password, given the text of FILE."""
    for line in accounts.splitlines():
        account, wanted, *_ = line.split(":")
        if account == name:
            return wanted
    return UNKNOWN


def opens(wanted: str, password: bytes) -> bool:
    """Tell whether a password is the one of the hash, by crypt(3): Python's own module of it is gone."""
    try:
        crypt = ctypes.CDLL("libcrypt.so.1").crypt
    except OSError:
        # musl has it in itself.
        crypt = ctypes.CDLL(None).crypt
    crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    crypt.restype = ctypes.c_char_p
    made = crypt(password, wanted.encode())
    return made is not None and hmac.compare_digest(made, wanted.encode())


def main() -> int:
    """Return 0 for the right password, else 1."""
    # Some releases of PAM end it with a zero byte.
    password = sys.stdin.buffer.read(4096).rstrip(b"\0")
    accounts = Path(sys.argv[1]).read_text(encoding="utf-8")
    return 0 if opens(hash_of(os.environ.get("PAM_USER", ""), accounts), password) else 1


if __name__ == "__main__":
    sys.exit(main())
