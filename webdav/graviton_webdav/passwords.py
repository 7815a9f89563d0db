"""The users file: one ``user:hash`` a line, argon2 or bcrypt; and how it is edited.

A file that other programs wrote (``htpasswd -B``) is read as well; new hashes are argon2id.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from gravitonfs.core.durable import sync_directory
from gravitonfs.errors import Invalid, NotFound

_hasher = PasswordHasher()
_BCRYPT = ("$2a$", "$2b$", "$2y$")
_BCRYPT_MAX = 72
USER_MAX = 255


def hash_password(password: str) -> str:
    """Takes about 0.1 s, by design."""
    return _hasher.hash(password)


def verify_password(stored: str, password: str) -> bool:
    """Whether ``password`` is the one that was hashed. Takes about 0.1 s, by design."""
    if stored.startswith(_BCRYPT):
        # bcrypt knows 72 bytes; older versions cut silently, as did the programs that wrote the file.
        try:
            return bcrypt.checkpw(password.encode()[:_BCRYPT_MAX], stored.encode())
        except ValueError:
            return False
    try:
        return _hasher.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


def decoy_hash() -> str:
    """A hash that nothing matches, checked for unknown users, so that the time does not tell them."""
    return _hasher.hash(secrets.token_hex(16))


def check_user(user: str) -> None:
    if not user or len(user.encode()) > USER_MAX or any(c == ":" or not c.isprintable() for c in user):
        raise Invalid("a user's name must be 1 to 255 printable characters without a colon")


def parse_users(text: str, where: str) -> dict[str, str]:
    """User to hash. Blank lines and lines with ``#`` in front are left out."""
    users: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        user, colon, stored = line.partition(":")
        if not colon or not user or not stored.startswith(("$argon2", *_BCRYPT)):
            raise Invalid(
                f"{where}, line {number}: expected user:hash with an argon2 or bcrypt hash"
                " (graviton passwd FILE USER writes one)"
            )
        if user in users:
            raise Invalid(f"{where}, line {number}: {user!r} is there twice")
        users[user] = stored
    return users


def read_users(path: Path) -> dict[str, str]:
    """Raises NotFound or Invalid with what to do."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist: make it with graviton passwd {path} USER") from None
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}") from None
    return parse_users(text, str(path))


def set_password(path: Path, user: str, password: str) -> bool:
    """Add a user or change its password; True when it is new. The file is replaced whole, mode 0600."""
    check_user(user)
    if not password:
        raise Invalid("the password must not be empty")
    return _edit(path, user, hash_password(password))


def remove_user(path: Path, user: str) -> None:
    """Raises NotFound when there is no such user."""
    if user not in read_users(path):
        raise NotFound(f"{path} has no user {user!r}")
    _edit(path, user, None)


def _edit(path: Path, user: str, stored: str | None) -> bool:
    lines: list[str] = []
    if path.exists():
        read_users(path)
        lines = path.read_text(encoding="utf-8").splitlines()
    new = [line for line in lines if line.strip().partition(":")[0] != user]
    added = len(new) == len(lines)
    if stored is not None:
        new.append(f"{user}:{stored}")
    _replace(path, "".join(f"{line}\n" for line in new))
    return added


def _replace(path: Path, text: str) -> None:
    """Bytes first, then the name, then the directory: a crash leaves the old file or the new one."""
    directory = path.parent
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=directory)
    except OSError as error:
        raise Invalid(f"{directory} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(directory)
