"""An open loop of requests to a server on this machine: they come when they come, however long answers take.

Latencies count from the moment a request was due, so a server that stalls is charged for all who would have come.
"""

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Request = tuple[str, str, bytes | None]
"""Method, path, body."""

PATIENCE = 30.0
"""Seconds after which a request is given up."""


@dataclass
class Measured:
    """What came of requests.

    Attributes:
        kind: Of each request.
        seconds: From when it was due to its answer.
        status: Of its answer; 0: none came.
        at: When it was due, seconds since the start.
    """

    kind: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)

    def summary(self, kind: str | None = None, *, accepted: bool = False) -> dict[str, Any]:
        """Counts and percentiles, of one kind or all; with `accepted`, of answers 2xx only."""
        chosen = [
            row
            for row, (one, status) in enumerate(zip(self.kind, self.status, strict=True))
            if kind in (None, one) and (not accepted or 200 <= status < 300)
        ]
        if not chosen:
            return {"requests": 0}
        times = np.array([self.seconds[row] for row in chosen]) * 1e3
        statuses = Counter(str(self.status[row]) for row in chosen)
        percentiles = {f"p{part}_ms": round(float(np.percentile(times, part)), 1) for part in (50, 90, 99)}
        return {
            "requests": len(chosen),
            "statuses": dict(statuses),
            **percentiles,
            "max_ms": round(float(times.max()), 1),
        }


class Connections:
    """Kept open, and used again; plain HTTP/1.1, since a client library would cost more than the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: Request) -> tuple[int, bytes]:
        """Status and body; over a new connection where the server has closed the one that was to be used again."""
        if self._free:
            with contextlib.suppress(OSError, IndexError, asyncio.IncompleteReadError):
                return await self._over(*self._free.pop(), request)
        return await self._over(*await asyncio.open_connection("127.0.0.1", self._port), request)

    async def _over(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request
    ) -> tuple[int, bytes]:
        method, path, body = request
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n"
        if body is not None:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        try:
            writer.write(head.encode() + b"\r\n" + (body or b""))
            status = int((await reader.readline()).split()[1])
            length = 0
            while (line := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("latin-1").partition(":")
                length = int(value) if name.lower() == "content-length" else length
            answer = await reader.readexactly(length)
        except BaseException:
            writer.close()
            raise
        self._free.append((reader, writer))
        return status, answer

    def close(self) -> None:
        """All of them."""
        for _, writer in self._free:
            writer.close()


async def open_loop(
    port: int, rate: float, seconds: float, make: Callable[[random.Random], tuple[str, Request]], seed: int = 0
) -> Measured:
    """Requests at random moments, so many a second on average.

    Args:
        port: Of the server.
        rate: Requests a second.
        seconds: How long.
        make: The kind of the next request, and the request.
        seed: Of moments and requests.
    """
    chance, found, connections = random.Random(seed), Measured(), Connections(port)
    begin, due, tasks = time.perf_counter(), 0.0, set()

    async def one(kind: str, request: Request, due: float) -> None:
        status = 0
        try:
            async with asyncio.timeout(PATIENCE):
                status, _ = await connections.ask(request)
        except (OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError):
            pass
        found.kind.append(kind)
        found.status.append(status)
        found.seconds.append(time.perf_counter() - begin - due)
        found.at.append(due)

    while due < seconds:
        kind, request = make(chance)
        if (wait := begin + due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(kind, request, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += chance.expovariate(rate)
    if tasks:
        await asyncio.wait(tasks)
    connections.close()
    return found


def asked(path: str, body: Any = None, method: str | None = None) -> Request:
    """A request with a JSON body, or none."""
    if body is None:
        return method or "GET", path, None
    return method or "POST", path, json.dumps(body).encode()
