"""Who may ask: a key or a browser's session with a role, and not too often. Each route states what it needs."""

import math
import secrets
import time
from collections import OrderedDict
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection

from recllm.serve.web.keys import Key, Keys, Role, digest
from recllm.serve.web.reply import Refused

COOKIE = "recllm_session"
HOURS = 12
MOST_SESSIONS = 1_000
MOST_BUCKETS = 10_000


class Sessions:
    """Browsers that showed a key: a random token each, of which only the digest is held, for some hours."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, tuple[Key, float]] = OrderedDict()

    def open(self, key: Key) -> str:
        """A new session's token; the oldest makes room when there are too many."""
        token = secrets.token_urlsafe(32)
        self._keys[digest(token)] = (key, time.monotonic() + HOURS * 3600)
        while len(self._keys) > MOST_SESSIONS:
            self._keys.popitem(last=False)
        return token

    def find(self, token: str) -> Key | None:
        """The key that was shown; None if there is no such session any more."""
        found = self._keys.get(digest(token))
        if found is None or found[1] < time.monotonic():
            self.close(token)
            return None
        return found[0]

    def close(self, token: str) -> None:
        """End a session."""
        self._keys.pop(digest(token), None)


class Buckets:
    """A bucket of tokens for each caller: it holds a second's worth, and a request takes one."""

    def __init__(self, rate: float | None) -> None:
        self.rate = rate
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take a token; the seconds until there is one, 0 where there was."""
        if self.rate is None:
            return 0.0
        now, most = time.monotonic(), max(1.0, self.rate)
        left, at = self._left.pop(caller, (most, now))
        left = min(most, left + (now - at) * self.rate)
        self._left[caller] = (left - 1 if left >= 1 else left, now)
        while len(self._left) > MOST_BUCKETS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self.rate


class Gate:
    """Lets requests in; one for each app, at `app.state.gate`.

    Attributes:
        keys: None: everybody on this machine may do everything.
    """

    def __init__(self, keys: Keys | None, rate: float | None) -> None:
        self.keys = keys
        self.sessions = Sessions()
        self.buckets = Buckets(rate)

    def admit(self, connection: HTTPConnection, role: Role) -> Role:
        """Check key, role and rate; the role that the caller has.

        Raises:
            Refused: 401 without a key that is known, 403 where its role is too small, 429 where it asks too often.
        """
        if self.keys is None:
            self._wait("here:" + _address(connection))
            return Role.ADMIN
        key = self._key(connection, self.keys)
        self.count(connection, key)
        if key is None:
            raise Refused(
                401,
                "this needs a key that the server knows; send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.",
                {"www-authenticate": "Bearer"},
            )
        if key.role < role:
            raise Refused(403, f"this needs a key with the role {role.name.lower()}; yours is {key.role.name.lower()}.")
        return key.role

    def _key(self, connection: HTTPConnection, keys: Keys) -> Key | None:
        scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
        if scheme:
            return keys.find(secret.strip()) if scheme.lower() == "bearer" else None
        if secret := connection.headers.get("x-api-key", ""):
            return keys.find(secret)
        if token := connection.cookies.get(COOKIE, ""):
            check_origin(connection)
            return self.sessions.find(token)
        return None

    def count(self, connection: HTTPConnection, key: Key | None) -> None:
        """Take a token of this key, or of the address that shows none.

        Raises:
            Refused: 429; there is none left.
        """
        self._wait(f"key:{key.sha256}" if key else "unknown:" + _address(connection))

    def _wait(self, caller: str) -> None:
        if wait := self.buckets.take(caller):
            seconds = math.ceil(wait)
            raise Refused(
                429,
                f"these are more requests than the {self.buckets.rate:g} a second that are allowed; wait {seconds} s.",
                {"retry-after": str(seconds)},
            )


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def check_origin(connection: HTTPConnection) -> None:
    """Browsers send cookies, and reach this machine, on behalf of any page; only this server's own may.

    Raises:
        Refused: The request comes from a page of another site.
    """
    origin, host = connection.headers.get("origin"), connection.headers.get("host", "")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise Refused(403, "this comes from a page of another site; open the server's own page.")
    site, mode = connection.headers.get("sec-fetch-site"), connection.headers.get("sec-fetch-mode")
    if site in ("cross-site", "same-site"):
        method = connection.scope.get("method")
        if not (mode == "navigate" and method == "GET" and not connection.url.path.startswith("/api")):
            raise Refused(403, "this comes from a page of another site; open the server's own page.")


def is_loopback(host: str) -> bool:
    """Whether a host name, with or without a port, means this machine and nothing else."""
    name = urlsplit(f"//{host}").hostname if not host.startswith("::") else host
    parts = (name or "").split(".")
    is_four = len(parts) == 4 and parts[0] == "127" and all(part.isdigit() and int(part) < 256 for part in parts)
    return name in ("localhost", "::1") or is_four


def check_local(connection: HTTPConnection) -> None:
    """What a server without keys asks of each request, so that no web page can speak to it in the user's name.

    Raises:
        Refused: The request names another host (DNS rebinding), or comes from a page of another site.
    """
    try:
        local = is_loopback(connection.headers.get("host", ""))
    except ValueError:
        local = False
    if not local:
        raise Refused(
            403, "a server without keys answers at 127.0.0.1 and localhost only; make a key to use another name."
        )
    check_origin(connection)


class Needs:
    """The dependency that lets a route's callers in; None: everybody."""

    def __init__(self, role: Role | None) -> None:
        self.role = role

    async def __call__(self, connection: HTTPConnection) -> None:
        """Let the caller in, or raise `Refused`."""
        if self.role is not None and connection.scope.get("recllm.admitted") is not self:
            gate: Gate = connection.app.state.gate
            connection.scope["recllm.role"] = gate.admit(connection, self.role)
            connection.scope["recllm.admitted"] = self


OPEN = Depends(Needs(None))
READ = Depends(Needs(Role.READ))
WRITE = Depends(Needs(Role.WRITE))
ADMIN = Depends(Needs(Role.ADMIN))
"""To be put in `dependencies=[…]` of each route."""


def role_of(dependencies: object) -> Needs | None:
    """The `Needs` among a route's dependencies."""
    found = [one.dependency for one in dependencies if isinstance(one.dependency, Needs)]  # type: ignore[attr-defined]
    return found[0] if found else None
