"""Kills a server again and again while events come in over HTTP, and looks at what is kept and how soon it is back.

    python scripts/bench/serve_killed.py MODEL [--kills 100] [--seed 0] [--out FILE]

A few senders bring events one after the other; what is not acknowledged they send again, as people's queues do. In the
end every event has to be kept once, and whoever asks finds it in the counts.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from load import Connections, asked
from serve import free_port, running

from recllm.recommender import Recommender
from recllm.serve.state.sqlite.store import SqliteStore

SENDERS = 6


class Senders:
    """Send events until they are told to stop."""

    def __init__(self, port: int, users: list[str], items: list[str], seed: int) -> None:
        self.port, self.users, self.items, self.chance = port, users, items, random.Random(seed)
        self.acknowledged: list[str] = []
        self.again = 0
        self.stop = False
        self.last = time.perf_counter()

    async def send(self, number: int) -> None:
        connections = Connections(self.port)
        for count in range(10**9):
            if self.stop:
                break
            user, item = self.chance.choice(self.users), self.chance.choice(self.items)
            event = {"user_id": user, "item_id": item, "event_id": f"{number}-{count}", "timestamp": time.time() - 1}
            while not await self._sent(connections, event):
                self.again += 1
                connections.close()
                connections = Connections(self.port)
                await asyncio.sleep(0.01)
            self.acknowledged.append(event["event_id"])  # type: ignore[arg-type]
            self.last = time.perf_counter()
        connections.close()

    async def _sent(self, connections: Connections, event: dict[str, Any]) -> bool:
        with contextlib.suppress(OSError, ValueError, IndexError, asyncio.IncompleteReadError):
            return (await connections.ask(asked("/api/feedback", [event])))[0] == 200
        return False


async def killed(senders: Senders, supervisor: int, kills: int, chance: random.Random) -> list[float]:
    """Seconds until the first event was acknowledged after each kill."""
    tasks = [asyncio.create_task(senders.send(number)) for number in range(SENDERS)]
    back = []
    for number in range(kills):
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        (server,) = psutil.Process(supervisor).children()
        begin = time.perf_counter()
        os.kill(server.pid, signal.SIGKILL)
        while all(one.pid == server.pid for one in psutil.Process(supervisor).children()):
            await asyncio.sleep(0.005)
        anew = time.perf_counter()
        while senders.last < anew:  # what was acknowledged before may still be on its way
            await asyncio.sleep(0.005)
        back.append(senders.last - begin)
        print(
            f"{number + 1:3}  acknowledged {len(senders.acknowledged):6,}  back after {back[-1] * 1e3:5.0f} ms",
            flush=True,
        )
    senders.stop = True
    await asyncio.gather(*tasks)
    return back


def main() -> None:
    """Kill, and look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rec = Recommender.load(options.model)
    with tempfile.TemporaryDirectory() as name:
        data, port = Path(name) / "data", free_port()
        command = [sys.executable, "-c", "from recllm.cli import main; main()", "serve", str(options.model)]
        senders = Senders(port, list(rec.user_ids)[:500], list(rec.catalog.item_ids), options.seed)
        with running([*command, "--data", str(data), "--port", str(port)], port) as process:
            back = asyncio.run(killed(senders, process.pid, options.kills, random.Random(options.seed)))
        store = SqliteStore.open(data)
        kept, number = Counter[str](), 0
        while events := store.events_after(number):
            kept.update(one.event.event_id for one in events)
            number = events[-1].number
        whole = store._rows("PRAGMA integrity_check") == [("ok",)]
        store.close()
    found = {
        "kills": options.kills,
        "acknowledged": len(senders.acknowledged),
        "sent_again": senders.again,
        "lost": sum(name not in kept for name in senders.acknowledged),
        "duplicates": sum(count > 1 for count in kept.values()),
        "whole": whole,
        "seconds_until_back": {"median": round(sorted(back)[len(back) // 2], 3), "most": round(max(back), 3)},
    }
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
