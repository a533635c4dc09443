"""What a server holds in memory: for each 10,000 items and users, and after a day of traffic in minutes.

python scripts/bench/serve_memory.py MODEL [--requests 50000] [--out FILE]
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl
from load import Connections
from serve import Mix, free_port, grown, memory_of, running

from recllm import Catalog, Recommender

AT_ONCE = 8
"""Visitors who each wait for their answer before they ask again."""


def with_items(folder: Path, more: int, target: Path) -> None:
    """The model with as many further items, whose titles are put together from those it has."""
    rec, chance = Recommender.load(folder), random.Random(0)
    words = sorted({word for title in rec.catalog.titles for word in title.split()})
    rows = [{"item_id": f"more{row}", "title": " ".join(chance.sample(words, 4))} for row in range(more)]
    rec.add_items(Catalog.from_frame(pl.DataFrame(rows)))
    rec.save(target)


def served(model: Path, place: Path, step: Any) -> Any:
    """What `step` measures of a server with this model."""
    port = free_port()
    command = [sys.executable, "-c", "from recllm.cli import main; main()", "serve", str(model)]
    with running([*command, "--data", str(place), "--port", str(port)], port) as process:
        return step(port, process)


async def some(port: int, mix: Mix, requests: int, seed: int) -> dict[str, int]:
    """Requests of a few visitors, as fast as they are answered; how they were."""
    connections, chance, statuses = Connections(port), random.Random(seed), {}  # type: ignore[var-annotated]
    left = iter(range(requests))

    async def visitor() -> None:
        for _ in left:
            status, _ = await connections.ask(mix(chance)[1])
            statuses[str(status)] = statuses.get(str(status), 0) + 1

    await asyncio.gather(*(visitor() for _ in range(AT_ONCE)))
    connections.close()
    return statuses


def day(mix: Mix, requests: int) -> Any:
    """Memory through a day of traffic."""

    def step(port: int, process: Any) -> dict[str, Any]:
        held, begin, statuses = [memory_of(process)], time.perf_counter(), {}
        for part in range(20):
            for status, count in asyncio.run(some(port, mix, requests // 20, part)).items():
                statuses[status] = statuses.get(status, 0) + count
            held.append(memory_of(process))
            print(part, held[-1], flush=True)
        warm = held[5]  # a quarter of the day: what is remembered between questions is full by then, or nearly
        return {
            "requests": requests,
            "statuses": statuses,
            "minutes": round((time.perf_counter() - begin) / 60, 1),
            "memory_mb": held,
            "drift_since_a_quarter": round(held[-1] / warm - 1, 4),
        }

    return step


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        users, items = grown(options.model, 10_000, place / "users")
        grown(options.model, 20_000, place / "more users")
        with_items(place / "users", 10_000, place / "more items")
        found: dict[str, Any] = {}
        for model in ("users", "more users", "more items"):
            found[model] = served(place / model, place / f"data {model}", lambda _, process: memory_of(process))
            print(model, found[model], flush=True)
        found["for 10,000 users"] = round(found["more users"] - found["users"], 1)
        found["for 10,000 items"] = round(found["more items"] - found["users"], 1)
        found["a day"] = served(place / "users", place / "data day", day(Mix(users, items), options.requests))
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
