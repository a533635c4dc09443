"""Damages a saved model in many ways and asks each one for answers: nothing may crash, hang or serve NaN.

    python scripts/bench/damage.py [--damages 500] [--seed 0] [--keep scripts/bench/results/damage.json]

Every second damaged folder is signed again: sizes, hashes and checksum of the manifest are those of the damaged files,
as somebody who means harm would do it. Each folder is loaded in a process that is ended when it hangs, and asked for
scores, lists and reasons where it loads.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

MOST_SECONDS = 2.0
GIVE_UP = 20.0
ODD = [None, True, -1, 0, 1, 7, 1e5, 100_000, 10**9, 10**12, 2**62, 2**64, 10**30, -(10**9), 0.5, -0.5, 1e-300, 1e300]
ODD += ["", "x", "../../x", [], {}, [1], [[]], {"a": 1}, [None] * 3, "9" * 50]
FLOATS = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e30, 1e19, 1e10, 1e6, -1e6, 1e-45, 0.0, -1.0]
WHOLE = [-1, -(2**31), 2**31 - 1, 10**6, 48, 1000, 2**20]


# --- one damage each ---------------------------------------------------------------------------------------------


def files_of(folder: Path, ending: str = "") -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(ending) and path.name != "manifest.json")


def flipped(folder: Path, rng: random.Random) -> str:
    path = rng.choice(files_of(folder))
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 3, 20])):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return path.name


def flipped_at_an_end(folder: Path, rng: random.Random) -> str:
    """Where sizes and offsets are written."""
    path = rng.choice(files_of(folder, ".arrow") + files_of(folder, ".safetensors"))
    content = bytearray(path.read_bytes())
    place = rng.randrange(min(1500, len(content)))
    place = place if rng.random() < 0.5 else len(content) - 1 - place
    odd = rng.choice([b"\xff" * 8, bytes(8), (2**40).to_bytes(8, "little"), (2**62).to_bytes(8, "little")])
    content[place : place + 8] = odd[: len(content) - place]
    path.write_bytes(content)
    return path.name


def cut(folder: Path, rng: random.Random) -> str:
    path = rng.choice(files_of(folder))
    content = path.read_bytes()
    path.write_bytes(content[: rng.choice([0, 1, len(content) // 2, len(content) - 1])])
    return path.name


def lengthened(folder: Path, rng: random.Random) -> str:
    path = rng.choice(files_of(folder))
    path.write_bytes(path.read_bytes() + rng.choice([b"\n", b"\0" * 100, b"x" * 10_000]))
    return path.name


def taken_away(folder: Path, rng: random.Random) -> str:
    path = rng.choice(files_of(folder))
    path.unlink()
    return path.name


def swapped(folder: Path, rng: random.Random) -> str:
    one, other = rng.sample(files_of(folder, rng.choice([".safetensors", ".json", ".arrow"])), 2)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return f"{one.name} and {other.name}"


def no_file(folder: Path, rng: random.Random) -> str:
    path = rng.choice([*files_of(folder), folder / "manifest.json"])
    path.unlink()
    kind = rng.choice(["pipe", "/dev/zero", "/dev/random", "folder", "hole"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "hole":
        with path.open("wb") as file:
            file.truncate(rng.choice([1 << 33, 1 << 40]))
    else:
        path.symlink_to(kind)
    return f"{path.name}: {kind}"


def tensors(folder: Path, rng: random.Random, change: Callable[[np.ndarray], np.ndarray | None]) -> str:
    from safetensors.numpy import load, save

    path = rng.choice(files_of(folder, ".safetensors"))
    arrays = load(path.read_bytes())
    name = rng.choice(sorted(arrays))
    changed = change(arrays[name].copy())
    if changed is None:
        del arrays[name]
    else:
        arrays[name] = np.asarray(changed, order="C")
    path.write_bytes(save(arrays))
    return f"{path.name}: {name}"


def odd_values(folder: Path, rng: random.Random) -> str:
    def change(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(-1)
        values = FLOATS if array.dtype.kind == "f" else WHOLE
        for _ in range(rng.choice([1, 1, 2, len(flat)])):
            if len(flat):
                with np.errstate(all="ignore"):
                    flat[rng.randrange(len(flat))] = np.array(rng.choice(values)).astype(array.dtype)
        return array

    return tensors(folder, rng, change)


def odd_shapes(folder: Path, rng: random.Random) -> str:
    def change(array: np.ndarray) -> np.ndarray | None:
        ways: list[Callable[[], np.ndarray | None]] = [
            lambda: None,
            lambda: array[:0],
            lambda: array[..., :-1],
            lambda: array[None],
            lambda: array.reshape(-1),
            lambda: np.concatenate([array, array]),
            lambda: array.T[..., None],
            lambda: np.zeros((0, 1 << 40), array.dtype),
            lambda: array.astype(rng.choice([np.float64, np.float16, np.int8, np.int64, np.uint8, bool])),
        ]
        try:
            with np.errstate(all="ignore"):
                return rng.choice(ways)()
        except (ValueError, IndexError):
            return None

    return tensors(folder, rng, change)


def odd_documents(folder: Path, rng: random.Random) -> str:
    path = rng.choice(files_of(folder, ".json"))
    document = json.loads(path.read_bytes())
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []:
            places.append((value, key))
            walk(value[key])

    walk(document)
    said = "whole"
    if not places or rng.random() < 0.05:
        document = rng.choice(ODD)
    else:
        holder, key = rng.choice(places)
        said = str(key)
        way = rng.random()
        if way < 0.15:
            del holder[key]
        elif way < 0.3 and isinstance(holder, dict):
            holder[rng.choice(["x", "_attn_implementation", "auto_map", "quantization_config"])] = rng.choice(ODD)
        else:
            holder[key] = rng.choice(ODD)
    path.write_text(json.dumps(document))
    return f"{path.name}: {said}"


def odd_json(folder: Path, rng: random.Random) -> str:
    path = rng.choice(files_of(folder, ".json"))
    path.write_bytes(
        rng.choice([b"", b"NaN", b"1e999", b"[" * 200_000, b"\xff\xfe", b"{}", b"null", b'{"a":' * 10_000])
    )
    return path.name


def odd_tables(folder: Path, rng: random.Random) -> str:
    import polars as pl
    import pyarrow as pa

    from recllm.artifact.tables import unpack_table

    path = rng.choice(files_of(folder, ".arrow"))
    frame = unpack_table(path.read_bytes())
    name = rng.choice(frame.columns)
    series = frame[name]
    none = pl.Series(name, [None] * len(series), dtype=series.dtype)
    ways: list[Callable[[], Any]] = [
        lambda: frame.drop(name),
        lambda: frame.rename({name: "x"}),
        lambda: frame.head(len(frame) // 2),
        lambda: frame.clear(),
        lambda: pl.concat([frame, frame]),
        lambda: frame.with_columns(none),
        lambda: frame.with_columns(series.cast(rng.choice([pl.String, pl.Float32, pl.Int64, pl.UInt8]), strict=False)),
        lambda: frame.with_columns(series.new_from_index(0, len(series))),
        lambda: frame.with_columns(
            pl.lit(rng.choice([-1, 10**9, float("nan"), "", "x"])).cast(series.dtype).alias(name)
        ),
        lambda: frame.with_columns(series.reverse()),
        lambda: pa.table({name: pa.nulls(10**9)}),
        lambda: pa.table({name: pa.array(["x" * 1000] * 3).dictionary_encode()}),
    ]
    try:
        changed = rng.choice(ways)()
    except pl.exceptions.PolarsError:
        changed = frame.clear()
    table = changed if isinstance(changed, pa.Table) else changed.to_arrow(compat_level=pl.CompatLevel.oldest())
    options = pa.ipc.IpcWriteOptions(compression=rng.choice([None, None, "zstd"]))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return f"{path.name}: {name}"


def odd_manifest(folder: Path, rng: random.Random) -> str:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    key = rng.choice([*manifest, "files"])
    if key == "files":
        name = rng.choice(sorted(manifest["files"]))
        facts = manifest["files"].pop(name)
        other = rng.choice([name, "../../../etc/passwd", "/dev/zero", "x" * 300, ""])
        manifest["files"][other] = rng.choice([facts, None, {"bytes": 2**62, "sha256": ""}, {"bytes": -1}])
    else:
        manifest[key] = rng.choice(ODD)
    path.write_text(json.dumps(manifest))
    return f"manifest.json: {key}"


DAMAGES: list[Callable[[Path, random.Random], str]] = [
    flipped, flipped, flipped_at_an_end, flipped_at_an_end, cut, lengthened, taken_away, swapped, no_file,
    odd_values, odd_values, odd_values, odd_values, odd_shapes, odd_shapes, odd_documents, odd_documents,
    odd_documents, odd_documents, odd_json, odd_tables, odd_tables, odd_tables, odd_manifest,
]  # fmt: skip


def sign(folder: Path) -> None:
    """Say in the manifest that everything is as it should be."""
    from recllm.artifact.manifest import sealed

    path = folder / "manifest.json"
    try:
        body = json.loads(path.read_bytes()) if path.is_file() and path.stat().st_size < 10**6 else None
        if not isinstance(body, dict):
            return
        if isinstance(body.get("files"), dict):
            for name, facts in body["files"].items():
                file = folder / name
                if isinstance(facts, dict) and file.is_file() and file.parent == folder and facts.get("bytes", 0) >= 0:
                    facts["bytes"] = file.stat().st_size
                    if facts["bytes"] < 10**8:
                        facts["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        body.pop("checksum", None)
        path.write_bytes(sealed(body))
    except (OSError, ValueError, TypeError):
        return


# --- asking ------------------------------------------------------------------------------------------------------


def make_model(folder: Path) -> Path:
    """A tiny real model; where its backbone is."""
    import polars as pl

    import recllm
    from recllm.testing import DEPARTMENTS, tiny_backbone, toy_shop
    from tests.small import config_for

    backbone = tiny_backbone(folder / "backbone", ["thing number", *DEPARTMENTS, *map(str, range(60))])
    shop = toy_shop()
    kinds = [pl.Series("kind", ["a", "b", None] * 16, dtype=pl.Categorical), pl.Series("price", range(48))]
    catalog = recllm.Catalog(shop.catalog.frame.with_columns(kinds), shop.catalog.report)
    ratings = pl.Series("rating", np.arange(len(shop.events)) % 5 + 1, dtype=pl.Float32)
    names = pl.Series("event", ["view", "buy"] * (len(shop.events) // 2))
    frame = shop.events.frame.with_columns(ratings, names)
    events = recllm.Interactions.from_frame(frame)
    recllm.Recommender(config_for(backbone)).fit(catalog, events).save(folder / "model")
    return backbone


def ask(folder: Path) -> str:
    """What becomes of a folder: refused, served, or a fault."""
    import recllm

    try:
        rec = recllm.Recommender.load(folder)
    except recllm.RecllmError:
        return "refused"
    except BaseException as error:
        return f"FAULT load {type(error).__name__}: {error}"[:200]
    try:
        items = list(rec.catalog.item_ids)
        users = {"new": items[:3], "other": items[-1:], "nobody": []}
        known = ["u0", "u1"]
        scores = [rec.score(users, items), rec.score(known, items), rec.score(users, items, adapt=False)]
        if not all(np.isfinite(part).all() for part in scores):
            return "FAULT served NaN"
        for asked in (users, known):
            rows = rec.recommend(asked, n=5, explain=True).to_dicts()
            if not all(np.isfinite(row["score"]) for row in rows):
                return "FAULT listed NaN"
        rec.explain(users, items[:2])
        rec.similar_items(items[:1], n=3)
        with tempfile.TemporaryDirectory() as place:
            rec.save(Path(place) / "m")
    except recllm.BackboneError:
        return "served"  # of search; everything else has answered
    except BaseException as error:
        return f"FAULT ask {type(error).__name__}: {error}"[:200]
    return "served"


def worker() -> None:
    """Reads folders, one a line, and writes what becomes of them."""
    import warnings

    warnings.simplefilter("ignore")
    for line in sys.stdin:
        begin = time.monotonic()
        outcome = ask(Path(line.strip()))
        print(json.dumps([outcome, time.monotonic() - begin]), flush=True)


class Asker:
    """A process that asks; a new one where it has crashed or hung."""

    def __init__(self, intact: Path) -> None:
        self.intact = intact
        self._start()

    def _start(self) -> None:
        command = [sys.executable, __file__, "--worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.lines: Queue[str] = Queue()
        Thread(target=self._listen, args=(self.process.stdout, self.lines), daemon=True).start()
        outcome, _ = self.ask(self.intact, 120)  # what is slow is to import torch
        if outcome != "served":
            raise SystemExit(f"the model is not served as it was made: {outcome}")

    @staticmethod
    def _listen(source: Any, lines: "Queue[str]") -> None:
        for line in source:
            lines.put(line)
        lines.put("")  # it has ended

    def ask(self, folder: Path, seconds: float = GIVE_UP) -> tuple[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        try:
            line = self.lines.get(timeout=seconds)
        except Empty:
            line = "hang"
        if line.startswith("["):
            outcome, took = json.loads(line)
            return outcome, took
        self.process.kill()
        code = self.process.wait()
        self._start()
        return ("FAULT hangs" if line == "hang" else f"FAULT crash ({code})"), seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--damages", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--worker", action="store_true")
    options = parser.parse_args()
    if options.worker:
        return worker()
    table: dict[str, Counter[str]] = {}
    faults, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as place:
        make_model(Path(place))
        asker = Asker(Path(place) / "model")
        for number in range(options.damages):
            rng = random.Random(f"{options.seed} {number}")
            folder = Path(place) / "damaged"
            shutil.copytree(Path(place) / "model", folder)
            damage = rng.choice(DAMAGES)
            where = damage(folder, rng)
            signed = number % 2 == 1
            if signed:
                sign(folder)
            outcome, seconds = asker.ask(folder)
            if seconds > MOST_SECONDS and outcome[:5] != "FAULT":
                outcome = f"FAULT slow: {seconds:.1f} s"
            if outcome.startswith("FAULT"):
                faults.append(f"{number} {damage.__name__} {where}{', signed' if signed else ''}: {outcome}")
                print(faults[-1], flush=True)
            row = f"{damage.__name__.replace('_', ' ')}{', signed again' if signed else ''}"
            table.setdefault(row, Counter())[outcome.split()[0]] += 1
            slowest = max(slowest, seconds)
            shutil.rmtree(folder)
    total = sum(table.values(), Counter[str]())
    print(f"\n{'damage':45} refused served faults")
    for row, counts in sorted(table.items()):
        print(f"{row:45} {counts['refused']:7} {counts['served']:6} {counts['FAULT']:6}")
    print(f"{options.damages} damages: {dict(total)}; slowest {slowest:.2f} s")
    if options.keep is not None:
        kept = {"damages": options.damages, "seed": options.seed, "slowest s": round(slowest, 2), "faults": faults}
        rows = {row: dict(counts) for row, counts in sorted(table.items())}
        options.keep.write_text(json.dumps(kept | {"total": dict(total), "table": rows}, indent=1) + "\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
