"""A disk that refuses, in each way that a layer below SQLite can: what is acknowledged, what is read, what is kept.

    python scripts/bench/serve_faults.py [--keep scripts/bench/results/serve_faults.json]

The last two rows are no pretence: a file that the system does not let grow, and a full file system where one can be
mounted (as root).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from recllm.errors import StorageError  # noqa: E402
from recllm.serve.state.records import Event  # noqa: E402
from recllm.serve.state.sqlite import writer  # noqa: E402
from recllm.serve.state.sqlite.store import SqliteStore  # noqa: E402
from tests.serve.state.sqlite.faults import CODES, disk  # noqa: E402
from tests.serve.state.sqlite.test_faults import FAULTS  # noqa: E402

EACH = 200
"""Requests before, during and after."""


class Sender:
    """Sends events of about a kilobyte, and notes which were acknowledged, refused in our words, or neither."""

    def __init__(self, store: SqliteStore) -> None:
        self.store, self.acknowledged, self.refused, self.other = store, set[str](), 0, list[str]()
        self.reads_failed = 0

    def send(self, phase: str, many: int = EACH) -> int:
        before = len(self.acknowledged)
        for k in range(many):
            name = f"{phase} {k} {'x' * 1_000}"
            one = Event(name, "u", "i", k)
            error = self.store.write(lambda change, one=one: change.add_events([one])).exception(30)
            if error is None:
                self.acknowledged.add(name)
            elif isinstance(error, StorageError):
                self.refused += 1
            else:
                self.other.append(str(error))
            try:
                assert self.store.impression("none") is None
                self.store.events_after(0, 10)
            except Exception:
                self.reads_failed += 1
        return len(self.acknowledged) - before


def run(folder: Path, vfs: str | None, break_: Callable[[], Any], mend: Callable[[], Any]) -> dict[str, Any]:
    """Before, during and after a fault; then everything is opened again without it."""
    sender = Sender(SqliteStore.open(folder, vfs=vfs))
    before = sender.send("before")
    break_()
    during = sender.send("during")
    refused, reads = sender.refused, sender.reads_failed
    mend()
    after = sender.send("after")
    sender.store.close()
    store = SqliteStore.open(folder)
    kept = {one.event.event_id for one in store.events_after(0, 1_000_000)}
    whole = store._rows("PRAGMA integrity_check") == [("ok",)]
    store.close()
    return {
        "before": before,
        "during": during,
        "refused": refused,
        "other_errors": len(sender.other),
        "reads_failed": reads,
        "after": after,
        "lost": len(sender.acknowledged - kept),
        "kept_though_refused": len(kept - sender.acknowledged),
        "whole": whole,
    }


def pretended(name: str) -> dict[str, Any]:
    operation, file, code, after = FAULTS[name]
    with tempfile.TemporaryDirectory() as place, disk() as failing:

        def break_() -> None:
            failing.refuses, failing.after = {(operation, file): CODES[code]}, after

        return run(Path(place), failing.name, break_, failing.well) | {"refused_by_the_disk": failing.refused}


def no_larger() -> dict[str, Any]:
    """The system lets no file of this process grow beyond its size: the log cannot."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tempfile.TemporaryDirectory() as place:
        return run(
            Path(place),
            None,
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_096 * 20, hard)),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)),
        )


def full() -> dict[str, Any] | None:
    """A file system of four megabytes, filled by somebody else; None where none can be mounted."""
    with tempfile.TemporaryDirectory() as place:
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        try:
            filler = Path(place) / "filler"

            def fill() -> None:
                with open(filler, "wb", buffering=0) as file:
                    try:
                        while file.write(b"x" * 4_096):
                            pass
                    except OSError:
                        pass

            return run(Path(place) / "server", None, fill, filler.unlink)
        finally:
            subprocess.run(["umount", place], check=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    writer.LOG_PAGES = 50  # the log is moved often, so that faults of the database are met
    found = {name: pretended(name) for name in FAULTS}
    found["a file may not grow (RLIMIT_FSIZE)"] = no_larger()
    if (one := full()) is not None:
        found["a full file system (tmpfs)"] = one
    columns = ["before", "during", "refused", "reads_failed", "after", "lost", "kept_though_refused", "whole"]
    print("| fault | " + " | ".join(column.replace("_", " ") for column in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name, one in found.items():
        print(f"| {name} | " + " | ".join(str(one[column]) for column in columns) + " |")
    if options.keep is not None:
        options.keep.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(any(one["lost"] or one["other_errors"] or not one["whole"] or not one["after"] for one in found.values()))


if __name__ == "__main__":
    main()
