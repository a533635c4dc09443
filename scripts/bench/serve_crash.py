"""Kills a process that takes events in, at random moments, and looks at what is kept.

    python scripts/bench/serve_crash.py [--kills 100] [--seed 0] [--keep scripts/bench/results/serve_crash.json]

The same folder is killed again and again, so each opening finds what many kills have left. After each, every event that
was acknowledged has to be there once, the file has to be whole, and what is sent again has to be known. A kill takes
the process and not the machine: that fsync keeps its word is the disk's matter.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

LONGEST = 1.0
"""Seconds in which a kill falls."""

THREADS = 8
PASSING = "somebody who is erased again and again"


@dataclass(frozen=True)
class Target:
    """What is killed.

    Attributes:
        start: Starts a process on a folder, in round so and so; returns it when it takes events.
        acknowledged: Sends events (the process may do that itself), and gives the id of each when it is acknowledged,
            until the process is dead. Ids differ from round to round.
        read_back: Opens the folder again: ids of the events that are kept, in order, and further facts: "seconds" until
            it answered, "whole", "known" (whether events that are sent again are known).
    """

    start: Callable[[Path, int], subprocess.Popen[str]]
    acknowledged: Callable[[subprocess.Popen[str]], Iterator[str]]
    read_back: Callable[[Path, list[str]], tuple[list[str], dict[str, Any]]]


def crash(target: Target, folder: Path, kills: int, rng: random.Random, say: Callable[[str], None]) -> dict[str, Any]:
    """Kill it so many times; what was lost, doubled or broken, and how long each opening took."""
    promised: dict[str, int] = {}
    faults: list[str] = []
    totals, seconds, logs = Counter[str](), [], []
    for number in range(kills):
        process = target.start(folder, number)
        came: list[str] = []
        listener = threading.Thread(target=lambda came=came, process=process: came.extend(target.acknowledged(process)))
        listener.start()
        time.sleep(rng.uniform(0, LONGEST))
        process.send_signal(signal.SIGKILL)
        process.wait()
        listener.join()
        promised.update(dict.fromkeys(came, number))
        log = folder / "recllm.db-wal"
        logs.append(log.stat().st_size if log.exists() else 0)
        kept, facts = target.read_back(folder, came[-100:])
        counts = Counter(kept)
        lost = [name for name in promised if name not in counts]
        double = [name for name, count in counts.items() if count > 1]
        totals += Counter(acknowledged=len(came), lost=len(lost), duplicates=len(double))
        seconds.append(facts["seconds"])
        if lost or double or not facts["whole"] or not facts["known"]:
            faults.append(f"kill {number + 1}: {len(lost)} lost, {len(double)} doubled, {facts}")
        say(
            f"{number + 1:3}  acknowledged {len(came):6,}  lost {len(lost)}  doubled {len(double)}  "
            f"kept {len(kept):8,}  log {logs[-1] / 1e6:5.1f} MB  open after {facts['seconds'] * 1e3:4.0f} ms"
        )
    return {
        "kills": kills,
        **{name: totals[name] for name in ("acknowledged", "lost", "duplicates")},
        "kept_unacknowledged": len(kept) - len(promised),
        "faults": faults,
        "seconds_to_open": {"median": sorted(seconds)[len(seconds) // 2], "most": max(seconds)},
        "log_bytes_at_kill": {"median": sorted(logs)[len(logs) // 2], "most": max(logs)},
    }


# -- the store by itself ----------------------------------------------------------------------------------------------


def worker(folder: Path, number: int) -> None:
    """Takes events in as fast as it can, and prints the id of each that is on the disk; with all else that goes on."""
    from recllm.serve.state.records import AdapterRecord, Event, Impression
    from recllm.serve.state.sqlite.store import SqliteStore

    store = SqliteStore.open(folder)

    def send(thread: int) -> None:
        rng = random.Random(f"{number} {thread}")
        for k in range(1_000_000_000):
            user, now = f"user {rng.randrange(2_000)}", time.time()
            names = [f"{number}-{thread}-{k}-{part}-{rng.random()}" for part in range(rng.choice([1, 1, 1, 5]))]
            events = [Event(name, user, f"item {rng.randrange(500)}", now) for name in names]
            store.write(lambda change, events=events: change.add_events(events)).result()
            os.write(1, "".join(f"{name}\n" for name in names).encode())
            lines = [{"item_id": f"item {j}", "rank": j, "score": rng.random()} for j in range(1, 11)]
            shown = Impression(f"list {names[0]}", user, now, "recommend", "m", 0, "ranking", {"n": 10}, lines)
            own = AdapterRecord(user, "m", k, rng.randbytes(6_000), "")
            store.write(lambda change, shown=shown, own=own: (change.add_impression(shown), change.put_adapter(own)))

    def erase() -> None:
        for k in range(1_000_000_000):
            event = Event(f"passing {number} {k}", PASSING, "item", 0)
            store.write(lambda change, event=event: change.add_events([event])).result()
            store.write(lambda change: change.erase_user(PASSING)).result()
            time.sleep(0.2)

    print("ready", flush=True)
    for thread in range(THREADS):
        threading.Thread(target=send, args=(thread,), daemon=True).start()
    erase()


def start_store(folder: Path, number: int) -> "subprocess.Popen[str]":
    command = [sys.executable, __file__, "--worker", str(number), "--place", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise SystemExit("the process that should take events in ended by itself")
    return process


def said(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    with process.stdout:
        # A line that the kill cut off was not said.
        yield from (line[:-1] for line in process.stdout if line.endswith("\n"))


def read_store(folder: Path, again: list[str]) -> tuple[list[str], dict[str, Any]]:
    from recllm.serve.state.sqlite.store import SqliteStore

    began = time.perf_counter()
    store = SqliteStore.open(folder)
    last = store.last_event
    seconds = time.perf_counter() - began
    names, number = [], 0
    while events := store.events_after(number):
        names += [one.event.event_id for one in events]
        number = events[-1].number
    whole = store._rows("PRAGMA integrity_check") == [("ok",)] and number <= last
    kept = {one.event.event_id: one.event for one in store.events_after(max(0, last - 20_000), 20_000)}
    resent = [kept[name] for name in again if name in kept]
    added = store.write(lambda change: change.add_events(resent)).result()
    store.close()
    return names, {"seconds": seconds, "whole": whole, "known": added.known == len(resent) and not added.new}


STORE = Target(start_store, said, read_store)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--worker", type=int)
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.worker is not None:
        return worker(options.place, options.worker)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "server"
        found = {
            "store": crash(
                STORE, folder, options.kills, random.Random(options.seed), lambda line: print(line, flush=True)
            )
        }
    print(json.dumps(found, indent=1))
    if options.keep is not None:
        options.keep.write_text(json.dumps({"seed": options.seed, **found}, indent=1) + "\n")
    sys.exit(any(one["faults"] for one in found.values()))


if __name__ == "__main__":
    main()
