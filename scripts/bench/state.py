"""State beyond one file: what an acknowledged event costs in Postgres, a database that is killed, a stream, a search.

python scripts/bench/state.py [--seconds 4] [--kills 20] [--items 20000] [--keep scripts/bench/results/state.json]

The database runs on this machine, on a socket, with fsync; the cluster that the stream comes from is librdkafka's own.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from recllm.errors import UnreachableError  # noqa: E402
from recllm.serve.state.opening import open_store  # noqa: E402
from recllm.serve.state.postgres import vectors  # noqa: E402
from recllm.serve.state.postgres.address import Address  # noqa: E402
from recllm.serve.state.records import Event  # noqa: E402
from recllm.serve.state.store import Store  # noqa: E402
from recllm.serve.stream.address import StreamAddress  # noqa: E402
from recllm.serve.stream.streaming import Streaming  # noqa: E402
from scripts.bench.serve_writes import milliseconds, writes  # noqa: E402
from tests.serve.state.postgres import server  # noqa: E402
from tests.serve.state.postgres.server import Postgres  # noqa: E402
from tests.serve.stream import cluster as clusters  # noqa: E402
from tests.serve.stream.takes import Takes  # noqa: E402

WIDTH = 384


def killed(postgres: Postgres, folder: Path, kills: int) -> dict[str, Any]:
    """The database is killed while eight threads write; what was acknowledged is counted against what is there."""
    store = open_store(folder, postgres.address(schema="killed"))
    acknowledged: list[list[str]] = [[] for _ in range(8)]
    refused, done = [0] * 8, threading.Event()

    def send(thread: int) -> None:
        number = 0
        while not done.is_set():
            number += 1
            name = f"{thread}-{number}"
            try:
                one = Event(name, "ann", "lamp", 1.0)
                store.write(lambda change, one=one: change.add_events([one])).result()
            except UnreachableError:
                refused[thread] += 1
                time.sleep(0.01)
            else:
                acknowledged[thread].append(name)

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    away = []
    for _ in range(kills):
        time.sleep(0.3)
        postgres.kill()
        began = time.perf_counter()
        postgres.start()
        while store.trouble:
            time.sleep(0.005)
        away.append(time.perf_counter() - began)
    done.set()
    for thread in threads:
        thread.join()
    there = [one.event.event_id for one in every(store)]
    said = {name for own in acknowledged for name in own}
    store.close()
    return {
        "kills": kills,
        "acknowledged": len(said),
        "refused": sum(refused),
        "lost": len(said - set(there)),
        "twice": len(there) - len(set(there)),
        "kept though refused": len(set(there) - said),
        "seconds until it goes on": {f"p{part}": round(float(np.percentile(away, part)), 2) for part in (50, 100)},
    }


def every(store: Store) -> Any:
    number = 0
    while some := store.events_after(number):
        number = some[-1].number
        yield from some


def streamed(store: Store, count: int) -> dict[str, float]:
    """Events a second from a topic into the store, each a message."""
    with clusters.running() as cluster:
        for partition in range(4):
            sent = [
                {"event_id": f"{partition}-{k}", "user_id": "ann", "item_id": "lamp", "timestamp": 1}
                for k in range(count // 4)
            ]
            cluster.send("shop", *sent, partition=partition)
        began = time.perf_counter()
        stream = Streaming(StreamAddress.of(cluster.address("shop")), Takes(store), store)  # type: ignore[arg-type]
        while stream.figures.events < count:
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        stream.close()
    return {"events": count, "events a second": round(count / seconds)}


def searched(postgres: Postgres, items: int) -> dict[str, Any]:
    """Vectors in clusters, as those of texts are; filters that leave 10 %, 1 % and one in 2,000 of the items."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, WIDTH))
    made = centres[rng.integers(200, size=items + 200)] + rng.normal(size=(items + 200, WIDTH))
    made = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    catalog, queries = made[:items], made[items:]
    parts = {"all": 1, "10 %": 10, "1 %": 100, "1 in 2,000": 2_000}
    postgres.run("CREATE SCHEMA IF NOT EXISTS meaning")
    table = vectors.ItemVectors.open(Address.of(postgres.address(schema="meaning")))
    began = time.perf_counter()
    rows = (
        vectors.ItemVector(f"i{row}", {"in": [name for name, part in parts.items() if row % part == 0]}, vector)
        for row, vector in enumerate(catalog)
    )
    table.replace("m", WIDTH, rows)
    found: dict[str, Any] = {"items": items, "seconds to write": round(time.perf_counter() - began, 1)}
    for name, part in parts.items():
        own = np.arange(0, items, part)
        taken, shared, came, before = [], 0, 0, table.exact
        for query in queries:
            began = time.perf_counter()
            ids = [one.item_id for one in table.nearest(query, 10, fields=None if part == 1 else {"in": [name]})]
            taken.append(time.perf_counter() - began)
            best = own[np.argsort(-(catalog[own] @ query))[:10]]
            shared += len(set(ids) & {f"i{row}" for row in best})
            came += len(ids) / min(10, len(own))
        found[name] = {
            **milliseconds(taken),
            "of the true ten": round(shared / (len(queries) * min(10, len(own))), 3),
            "of what was asked": round(came / len(queries), 3),
            "exact": table.exact - before,
        }
    table.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--place", type=Path, default=None, help="where files are; a disk, not memory")
    parser.add_argument("--keep", type=Path, default=None)
    options = parser.parse_args()
    server.MEMORY = options.place or tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(dir=options.place))
    found: dict[str, Any] = {}

    def note(name: str, call: Callable[..., Any], *given: Any) -> None:
        found[name] = call(*given)
        print(name, json.dumps(found[name]), flush=True)

    with server.running() as postgres:
        assert postgres is not None, "there is no Postgres here"
        places = {"sqlite": None, "postgres": postgres.address(schema="shop")}
        for kind, address in places.items():
            store = open_store(folder / kind, address)
            for threads in (1, 16, 64):
                note(f"{kind}, {threads} senders", writes, store, threads, options.seconds)
            note(f"{kind}, a stream", streamed, store, 20_000)
            store.close()
        note("killed", killed, postgres, folder / "killed", options.kills)
        note("search", searched, postgres, options.items)
    shutil.rmtree(folder)
    if options.keep:
        options.keep.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
