"""Runs the app in this process until it is told to stop."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from recllm.errors import ServeError
from recllm.serve.live.live import Live
from recllm.serve.state.store import Store
from recllm.serve.web.app import create_app
from recllm.serve.web.keys import Keys, Role, new_key

GRACE = 10
"""Seconds that requests which have begun may take when the server is stopped."""

BACKLOG = 1024
"""Connections that may wait while a server begins anew."""

SWITCH = 5e-4
"""Seconds after which a thread that computes lets the one that answers go on; Python's 5 ms are as long as a list."""

_FACT = "keys"


def run(live: Live, greet: Callable[[str], None], listening: socket.socket | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        live: What answers; it is not closed.
        greet: Called with the address when requests are answered.
        listening: Where to, from `listen_at`; None: where the settings say.

    Raises:
        ServeError: The address cannot be had.
        ConfigError: It can be reached from other machines, and there are no keys.
    """
    settings = live.settings
    app = create_app(live, kept_keys(live.store))
    listening = listening or listen_at(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{listening.getsockname()[1]}"
    # Paths hold ids of users, which belong in no log.
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=75,
        server_header=False,
        lifespan="on",
    )
    server = uvicorn.Server(config)

    async def serving() -> None:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if server.started:
            greet(address)
        await task

    # When it has stopped, uvicorn raises once more the signal that it was stopped by.
    former = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        # What is there now stays: looking through it for garbage would stop everybody for a quarter of a second.
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(SWITCH)
        asyncio.run(serving())
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        listening.close()


def kept_keys(store: Store) -> Keys | None:
    """The keys of a server; None: none was made."""
    kept: Any = store.fact(_FACT)
    return Keys.from_dict(kept) if kept else None


def make_key(store: Store, role: str, name: str | None = None) -> str:
    """A new key; only its SHA-256 is kept.

    Args:
        store: Of the server, which does not run.
        role: read, write or admin.
        name: Whose it is; None: one that is free.

    Raises:
        ConfigError: There is no such role.
    """
    keys = kept_keys(store)
    known = () if keys is None else keys.keys
    names = {key.name for key in known}
    free = (f"{role}-{number}" for number in range(1, len(names) + 2))
    secret, key = new_key(name or next(one for one in free if one not in names), Role.named(role))
    made = Keys([*(one for one in known if one.name != key.name), key]).to_dict()
    store.write(lambda change: change.put_fact(_FACT, made)).result()
    return secret


def listen_at(host: str, port: int) -> socket.socket:
    """A socket to serve at.

    Raises:
        ServeError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio does not see that small answers are to go out at once: each then waits 40 ms for the
    # other side's acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ServeError(f"{host}:{port} cannot be listened at ({error.strerror}); give another --port.") from error
    listening.listen(BACKLOG)
    return listening
