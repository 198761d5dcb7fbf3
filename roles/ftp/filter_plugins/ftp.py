"""Filter of the role ftp: what is kept of an account's password."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

# OWASP's Password Storage Cheat Sheet for PBKDF2-HMAC-SHA512; about 0.1 s of a processor for each guess.
ROUNDS = 210_000


def password_entry(password: str, salt: str) -> str:
    """Return a password as files/ftp_login.py reads it: ``rounds:salt:hash``.

    The salt comes from what is known of the account, and never from the password: it would be a quick way to guess it.
    The same password and salt give the same entry, so that a second run changes nothing.
    """
    derived = hashlib.pbkdf2_hmac("sha512", password.encode(), salt.encode(), ROUNDS)
    return f"{ROUNDS}:{salt}:{derived.hex()}"


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"ftp_password_entry": password_entry}
