"""API keys: who may do what. Only their SHA-256 is kept."""

import hashlib
import hmac
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Self

from recllm.errors import ConfigError

LONGEST_KEY = 200


class Role(IntEnum):
    """What a key allows; each role may do all that the ones before may."""

    READ = 1
    WRITE = 2
    ADMIN = 3

    @classmethod
    def named(cls, name: str) -> Self:
        """The role of that name.

        Raises:
            ConfigError: There is none.
        """
        try:
            return cls[name.upper()]
        except (KeyError, AttributeError):
            raise ConfigError(f"a key's role is read, write or admin; got {str(name)[:40]!r}.") from None


@dataclass(frozen=True)
class Key:
    """A key without its secret.

    Attributes:
        name: For people: whose it is.
        role: What it allows.
        sha256: Of the secret, in hexadecimal.
    """

    name: str
    role: Role
    sha256: str


def new_key(name: str, role: Role) -> tuple[str, Key]:
    """A fresh secret, which is shown once, and what is kept of it."""
    secret = f"recllm_{role.name.lower()}_{secrets.token_urlsafe(32)}"
    return secret, Key(name, role, digest(secret))


def digest(secret: str) -> str:
    """SHA-256 of a secret; it has 256 random bits, so no slower hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Keys:
    """The keys of a server."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        for key in self.keys:
            if len(key.sha256) != 64 or set(key.sha256) - set("0123456789abcdef"):
                raise ConfigError(f"key {key.name[:40]!r} has no SHA-256 of 64 hexadecimal digits; make a new key.")

    def find(self, secret: str) -> Key | None:
        """The key of a secret. All keys are compared, each in constant time."""
        if len(secret) > LONGEST_KEY:
            return None
        shown, found = digest(secret), None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, shown):
                found = key
        return found

    def to_dict(self) -> dict[str, dict[str, str]]:
        """For keeping; without any secret."""
        return {key.name: {"role": key.role.name.lower(), "sha256": key.sha256} for key in self.keys}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """What `to_dict` gave.

        Raises:
            ConfigError: It is something else.
        """
        keys = []
        for name, entry in kept.items():
            if not isinstance(entry, Mapping) or set(entry) != {"role", "sha256"}:
                raise ConfigError(f"key {str(name)[:40]!r} needs a role and a sha256, and nothing else.")
            keys.append(Key(str(name), Role.named(entry["role"]), str(entry["sha256"])))
        return cls(keys)

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a TOML file with a table `[keys.NAME]` of `role` and `sha256` for each key.

        Raises:
            ConfigError: The file is missing, no TOML, or holds something else.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"the keys cannot be read from {path.name!r}: {error}") from None
        if set(content) != {"keys"} or not isinstance(content["keys"], dict):
            raise ConfigError(f"{path.name!r} has tables [keys.NAME] with role and sha256, and nothing else.")
        return cls.from_dict(content["keys"])
