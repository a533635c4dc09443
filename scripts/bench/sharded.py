"""One job made by one process, two, two Ray workers, and by runs whose workers and driver are killed: the same bytes?

    python scripts/bench/sharded.py [--set ml-1m] [--budget 2m] [--model FOLDER] [--shards 16] [--explain] [--many 10]

Lists of all users of a set, with `--explain` also reasons, by `recllm recommend --executor …`. A worker is killed once
when two files are there, a driver when four are; what was killed is run again. With `--many`, then lists of so many
times as many users (copies of the set's), as a divided log. Users a second are counted from when each worker has done
its first shard.
"""

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

import recllm

RESULTS = Path(__file__).parent / "results" / "sharded.json"
WAYS: dict[str, tuple[str, str | None]] = {
    "local:1": ("local:1", None),
    "local:2": ("local:2", None),
    "ray:2": ("ray:2", None),
    "local:2, a worker killed": ("local:2", "worker"),
    "ray:2, a worker killed": ("ray:2", "worker"),
    "local:2, driver killed, run again": ("local:2", "driver"),
    "ray:2, driver killed, run again": ("ray:2", "driver"),
}
DATA = Path(os.environ.get("RECLLM_DATA", "data"))


def processes() -> Iterator[tuple[int, int, str, int]]:
    """(pid, parent, command line, resident bytes) of all processes."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent, *_ = (folder / "stat").read_text().rsplit(")", 1)[1].split()[1:2]
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                pages = int((folder / "statm").read_text().split()[1])
                yield int(folder.name), int(parent), command, pages * os.sysconf("SC_PAGE_SIZE")


def below(driver: int) -> list[tuple[int, str, int]]:
    """The processes that a driver has started, and those that they have."""
    alive = list(processes())
    found, seen = [], {driver}
    while fresh := [one for one in alive if one[1] in seen and one[0] not in seen]:
        seen |= {one[0] for one in fresh}
        found += [(pid, command, size) for pid, _, command, size in fresh]
    return found


def workers(driver: int) -> list[int]:
    """Those at work, of processes and of Ray, the largest first: the others have not loaded a model."""
    marks = ("spawn_main", "ray::attempt")
    return [
        pid for pid, command, _ in sorted(below(driver), key=lambda one: -one[2]) if any(m in command for m in marks)
    ]


class Run:
    """One run of the command, watched."""

    def __init__(self, command: list[str], out: Path) -> None:
        self.out, self.peak = out, 0
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while self.process.poll() is None:
            self.peak = max(
                [self.peak, *(size for pid, _, size in below(self.process.pid) if pid in workers(self.process.pid))]
            )
            time.sleep(0.25)

    def when(self, files: int, act: Callable[[], Any]) -> Any:
        """Once so many files are there; None if it has ended before."""
        while len(list(self.out.glob("part-*"))) < files:
            if self.process.poll() is not None:
                return None
            time.sleep(0.01)
        return act()

    def kill_a_worker(self) -> str:
        killed = workers(self.process.pid)[0]
        os.kill(killed, signal.SIGKILL)
        return f"killed process {killed}"

    def kill_the_driver(self) -> str:
        os.kill(self.process.pid, signal.SIGKILL)
        return f"killed driver {self.process.pid}"

    def end(self) -> dict[str, Any]:
        stdout, stderr = self.process.communicate()
        seconds = time.monotonic() - self.started
        log = [line for line in stderr.splitlines() if "shard " in line or "Error" in line or "could not" in line]
        told = {name: value for name, value in json.loads(stdout or "{}").items() if name != "lists"}
        return {
            "exit": self.process.returncode,
            "seconds": round(seconds, 1),
            "peak_mb": round(self.peak / 1e6),
            "told": told,
            "log": log,
        }


def digest(folder: Path) -> str:
    """Over the names and bytes of all files."""
    whole = hashlib.sha256()
    for path in sorted(folder.glob("[!.]*")):
        whole.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def rate(out: Path, users: int, workers: int) -> int:
    """Users a second of a run that nobody disturbed, by the times of its files."""
    times = sorted(path.stat().st_mtime for path in out.glob("part-*"))
    return round(users * (1 - workers / len(times)) / (times[-1] - times[workers - 1]))


def run(place: Path, name: str, executor: str, arguments: argparse.Namespace, kill: str | None) -> list[dict[str, Any]]:
    """One way of making the files: one run, or two if the driver was killed."""
    out = place / name
    command = [sys.executable, "-c", "from recllm.cli import main; main()", "recommend"]
    command += ["--model", str(place / "model"), "--out", str(out)]
    command += ["--executor", executor, "--shards", str(arguments.shards), "--json"]
    command += ["--explain"] if arguments.explain else []
    rows = []
    for turn in range(2 if kill == "driver" else 1):
        watched, done = Run(command, out), None
        if kill == "worker":
            done = watched.when(2, watched.kill_a_worker)
        elif kill == "driver" and turn == 0:
            done = watched.when(4, watched.kill_the_driver)
        row = {"run": name, "executor": executor, **watched.end(), "did": done}
        row |= {"files": len(list(out.glob("part-*"))), "sha256": digest(out)}
        if kill is None and not row["exit"]:
            users, workers = row["told"]["users"], int(executor[-1])
            row["users_per_second"] = rate(out, users, workers)
            row["bytes_per_user"] = round(sum(path.stat().st_size for path in out.glob("part-*")) / users)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def steady(place: Path, divided: recllm.scale.PartitionedEvents, workers: int) -> dict[str, Any]:
    """Lists of many users, and users a second."""
    out = place / f"many-local:{workers}"
    done = recllm.scale.recommend(place / "model", out, divided, executor=f"local:{workers}")
    size = sum(path.stat().st_size for path in out.glob("part-*"))
    row = {"run": f"many, local:{workers}", "users": done.users, "users_per_second": rate(out, done.users, workers)}
    return row | {"bytes_per_user": round(size / done.users)}


def many(place: Path, events: recllm.Interactions, times: int) -> list[dict[str, Any]]:
    """Lists of many users, from a divided log."""
    frame = events.frame.select("user_id", "item_id", "timestamp", "rating")
    log = pl.concat([frame.with_columns(pl.col("user_id") + f"-{turn}") for turn in range(times)])
    log.write_parquet(place / "many.parquet")
    started = time.monotonic()
    divided = recllm.scale.write_partitioned(place / "many.parquet", place / "many", partitions=16)
    rows = [
        {
            "run": "divide",
            "events": len(divided),
            "users": divided.users,
            "seconds": round(time.monotonic() - started, 1),
        }
    ]
    rows += [steady(place, divided, workers) for workers in (1, 2)]
    assert digest(place / "many-local:1") == digest(place / "many-local:2")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", default="ml-1m")
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--explain", action="store_true")
    parser.add_argument("--model", type=Path, help="a saved model instead of a new one")
    arguments = parser.parse_args()
    data = DATA / arguments.set
    catalog, events = recllm.Catalog.read(data / "items.csv.gz"), recllm.Interactions.read(data / "interactions.csv.gz")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if arguments.model is None:
            rec = recllm.Recommender(recllm.RecommenderConfig())
            rec.fit(catalog, events, options=recllm.TrainOptions(seed=0, budget=arguments.budget))
        else:
            rec = recllm.Recommender.load(arguments.model)
        rec.save(place / "model")
        rows = []
        for name in arguments.ways:
            executor, kill = WAYS[name]
            rows += run(place, name, executor, arguments, kill)
        size = sum(path.stat().st_size for path in (place / "model").iterdir())
        rows += many(place, events, arguments.many) if arguments.many else []
    finished = [row for row in rows if row.get("files") == arguments.shards]
    facts: dict[str, Any] = {
        "set": arguments.set,
        "users": len(events.user_ids),
        "items": len(catalog),
        "model_bytes": size,
    }
    facts |= {"the same bytes": len({row["sha256"] for row in finished}) == 1, "rows": rows}
    RESULTS.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"\n{'run':36} {'exit':>4} {'s':>6} {'MB':>5} {'files':>5}  sha256 of all files")
    for row in rows:
        if "sha256" not in row:
            print(json.dumps(row))
            continue
        told = (row["run"], row["exit"], row["seconds"], row["peak_mb"], row["files"], row["sha256"][:16])
        print("{:36} {:4} {:6} {:5} {:5}  {}…".format(*told))
        print("".join(f"    {line}\n" for line in [row["did"], *row["log"]] if line), end="")
    print(json.dumps({key: value for key, value in facts.items() if key != "rows"}))


if __name__ == "__main__":
    main()
