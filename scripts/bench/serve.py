"""A server under load, on this machine and its two cores, which the generator of requests shares.

    python scripts/bench/serve.py MODEL [--users 10000] [--minutes 10] [--only load curve …] [--out FILE]
    python scripts/bench/serve.py MODEL --rival ENVIRONMENT/bin/python --events interactions.csv.gz

MODEL is a saved recommender. It is given users until there are as many as asked for, whose histories are parts of those
it has. 70 % of requests ask for a list, 30 % bring an event. For the rival, see peers/serve.py.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
from load import Connections, Measured, Request, asked, open_loop

from recllm import Interactions, Recommender

HERE = Path(__file__).resolve().parent


def grown(folder: Path, users: int, target: Path) -> tuple[list[str], list[str]]:
    """The model with as many users; their ids and the items'."""
    rec, chance = Recommender.load(folder), np.random.default_rng(0)
    known = list(rec.user_ids)
    rows = []
    for number in range(max(users - len(known), 0)):
        whole = rec.fitted.memory.of_users([known[chance.integers(len(known))]]).frame
        part = whole[: int(chance.integers(1, min(len(whole), 40) + 1))]
        rows.append(part.with_columns(pl.lit(f"grown{number}").alias("user_id")))
    if rows:
        rec.update(Interactions.from_frame(pl.concat(rows)))
    rec.save(target)
    return list(rec.user_ids)[:users], list(rec.catalog.item_ids)


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: list[str], port: int, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ready."""
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}, stdout=subprocess.DEVNULL
    )
    try:
        wait_until_ready(port, process)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(port: int, process: subprocess.Popen[bytes], patience: float = 300.0) -> float:
    """Seconds until the server answered that it is ready."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < patience:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with code {process.returncode}")
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health/ready", timeout=2),
        ):
            return time.perf_counter() - begin
        time.sleep(0.02)
    raise SystemExit("the server was not ready in time")


class Mix:
    """Requests of users: lists, and events about items, some of which were recommended."""

    def __init__(self, users: list[str], items: list[str], lists: float = 0.7) -> None:
        self.users, self.items, self.lists = users, items, lists

    def __call__(self, chance: random.Random) -> tuple[str, Request]:
        user = chance.choice(self.users)
        if chance.random() < self.lists:
            return "list", asked(f"/api/recommend/{user}?n=10")
        event = {"user_id": user, "item_id": chance.choice(self.items), "event_id": f"{chance.getrandbits(64):016x}"}
        return "event", asked("/api/feedback", [event])


def memory_of(process: subprocess.Popen[bytes]) -> float:
    """Megabytes of the server, which a supervisor has begun."""
    (server,) = psutil.Process(process.pid).children()
    return round(server.memory_info().rss / 2**20, 1)


def told(measured: Measured) -> dict[str, Any]:
    """All of it, lists and events."""
    return {kind: measured.summary(None if kind == "all" else kind) for kind in ("all", "list", "event")}


def load(port: int, process: Any, mix: Mix, minutes: float, rate: float) -> dict[str, Any]:
    """The open loop."""
    before = memory_of(process)
    measured = asyncio.run(open_loop(port, rate, minutes * 60, mix))
    return {"rate": rate, "minutes": minutes, "memory_mb": [before, memory_of(process)], **told(measured)}


def curve(port: int, mix: Mix, rates: tuple[float, ...] = (20, 40, 60, 80, 100, 125, 150, 200)) -> list[dict[str, Any]]:
    """What happens as more come."""
    rows = []
    for rate in rates:
        measured = asyncio.run(open_loop(port, rate, 20, mix, seed=int(rate)))
        rows.append({"rate": rate, **measured.summary(), "accepted": measured.summary(accepted=True)})
        print(rows[-1], flush=True)
        time.sleep(2)
    return rows


def overload(port: int, mix: Mix, rate: float) -> dict[str, Any]:
    """Five times as many as wanted, and then as many as wanted."""
    usual = asyncio.run(open_loop(port, rate, 20, mix, seed=1))
    much = asyncio.run(open_loop(port, 5 * rate, 20, mix, seed=2))
    after = asyncio.run(open_loop(port, rate, 20, mix, seed=3))
    refused = Measured()
    for row, status in enumerate(much.status):
        if status in (429, 503):
            refused.kind.append("refused")
            refused.status.append(status)
            refused.seconds.append(much.seconds[row])
    late = [row for row, at in enumerate(after.at) if at > 10]
    return {
        "usual": usual.summary(accepted=True),
        "accepted": much.summary(accepted=True),
        "refused": refused.summary(),
        "others": much.summary()["statuses"],
        "after_10_s_p99_ms": round(float(np.percentile([after.seconds[row] for row in late], 99) * 1e3), 1),
        "after_10_s_refused": sum(after.status[row] >= 400 for row in late),
    }


async def _react(port: int, mix: Mix, times: int) -> dict[str, Any]:
    """An event, and at once the list: the item that was first may not be in it."""
    connections, chance = Connections(port), random.Random(7)
    seconds, right = [], 0
    for _ in range(times):
        user = chance.choice(mix.users)
        _, answer = await connections.ask(asked(f"/api/recommend/{user}?n=1"))
        first = json.loads(answer)["items"][0]["item_id"]
        begin = time.perf_counter()
        status, body = await connections.ask(asked("/api/feedback", [{"user_id": user, "item_id": first}]))
        _, answer = await connections.ask(asked(f"/api/recommend/{user}?n=10"))
        seconds.append(time.perf_counter() - begin)
        items = [line["item_id"] for line in json.loads(answer)["items"]]
        newest = json.loads(answer)["as_of_event"] >= json.loads(body)["as_of_event"]
        right += status < 300 and first not in items and newest
        await asyncio.sleep(0.05)
    connections.close()
    times_ms = np.array(seconds) * 1e3
    return {
        "times": times,
        "in_the_next_answer": right,
        "p50_ms": round(float(np.median(times_ms)), 1),
        "p99_ms": round(float(np.percentile(times_ms, 99)), 1),
    }


async def _react_under_load(port: int, mix: Mix, rate: float, times: int) -> dict[str, Any]:
    probing = asyncio.create_task(_react(port, mix, times))
    while not probing.done():
        await open_loop(port, rate, 5, mix, seed=times)
    return probing.result()


async def _alike(port: int, users: list[str]) -> dict[str, Any]:
    """The same lists one by one, and many at a time."""
    connections = Connections(port)
    paths = [asked(f"/api/recommend/{user}?n=20") for user in users]
    alone = [json.loads((await connections.ask(path))[1])["items"] for path in paths]
    together: list[Any] = []
    for start in range(0, len(paths), 16):
        found = await asyncio.gather(*(connections.ask(path) for path in paths[start : start + 16]))
        together += [json.loads(body)["items"] for _, body in found]
    connections.close()
    order = sum(
        [one["item_id"] for one in a] == [one["item_id"] for one in b] for a, b in zip(alone, together, strict=True)
    )
    gap = max(
        (abs(a["score"] - b["score"]) for x, y in zip(alone, together, strict=True) for a, b in zip(x, y, strict=True)),
        default=0.0,
    )
    return {"lists": len(users), "same_order": order, "largest_difference": gap}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=60)
    parser.add_argument("--only", nargs="*", default=["load", "curve", "overload", "alike", "react"])
    parser.add_argument("--rival", help="Python of the peers' environment")
    parser.add_argument("--events", type=Path, help="the log that the rival learns")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        users, items = grown(options.model, options.users, Path(place) / "model")
        mix, port = Mix(users, items), free_port()
        command = [sys.executable, "-c", "from recllm.cli import main; main()", "serve", str(Path(place) / "model")]
        with running([*command, "--data", str(Path(place) / "data"), "--port", str(port)], port) as process:
            found["users"], found["items"], found["memory_mb"] = len(users), len(items), memory_of(process)
            asyncio.run(open_loop(port, 20, 5, mix, seed=99))  # warm
            steps = {
                "alike": lambda: asyncio.run(_alike(port, users[:200])),
                "react": lambda: asyncio.run(_react_under_load(port, mix, options.rate, 300)),
                "load": lambda: load(port, process, mix, options.minutes, options.rate),
                "curve": lambda: curve(port, mix),
                "overload": lambda: overload(port, mix, options.rate),
            }
            for name, step in steps.items():
                if name in options.only:
                    found[name] = step()
                    print(name, json.dumps(found[name]), flush=True)
        if options.rival:
            found["rivals"] = rivals(options, users)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


def rivals(options: argparse.Namespace, users: list[str]) -> dict[str, Any]:
    """The same requests to other libraries, of users whom they know."""
    known = set(pl.read_csv(options.events, infer_schema_length=0)["user_id"].unique().to_list())
    mix, found = Mix([user for user in users if user in known], ["1"]), {}
    for method in ("implicit", "rectools"):
        port = free_port()
        command = [
            options.rival,
            str(HERE / "peers" / "serve.py"),
            str(options.events),
            "--method",
            method,
            "--port",
            str(port),
        ]
        with running(command, port):
            asyncio.run(open_loop(port, 20, 5, mix, seed=99))
            measured = asyncio.run(open_loop(port, options.rate, 60, mix, seed=4))
        found[method] = told(measured)
        print(method, json.dumps(found[method]), flush=True)
    return found


if __name__ == "__main__":
    main()
