"""Fewer bits and compiled code: what each is worth on this processor, and what it loses.

    python scripts/bench/precision.py ml-1m MODEL

MODEL was fitted without the test users. Texts: 48 of the catalog through the text encoder. Histories: all test users
with 20 known events through the transformer. Vectors: the items' own, as an index would hold them. Loss: the mean
cosine to float32, and NDCG@10 of the transformer's vectors alone on the test users. Writes
`scripts/bench/results/precision.json`.
"""

import argparse
import copy
import json
import os
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import recllm
from recllm.data.histories import make_histories
from recllm.data.tasks import make_tasks
from recllm.encoders.history import encode_users
from recllm.encoders.text import describe_items
from recllm.encoders.validation import mean_ndcg

DATA = Path(os.environ.get("RECLLM_DATA", "data"))
OUT = Path(__file__).parent / "results" / "precision.json"
TEXTS, TURNS = 48, 2
WAYS = ("float32", "bfloat16", "int8", "compiled")


def best_of(run: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of the fastest of a few turns, after one to warm up."""
    result, seconds = run(), []
    for _ in range(TURNS):
        begin = time.process_time()
        result = run()
        seconds.append(time.process_time() - begin)
    return min(seconds), result


def int8(module: nn.Module) -> nn.Module:
    """Linear layers with weights of 8 bits, activations quantised as they come."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised: nn.Module = torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(module), {nn.Linear}, dtype=torch.qint8
        )
    return quantised


def context(way: str) -> Any:
    """Around a run."""
    return torch.autocast("cpu", torch.bfloat16) if way == "bfloat16" else nullcontext()


def cosine(found: np.ndarray, plain: np.ndarray) -> float:
    """Mean over rows."""
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(plain, axis=1)
    return float(((found * plain).sum(axis=1) / np.maximum(lengths, 1e-9)).mean())


def texts(rec: recllm.Recommender) -> dict[str, dict[str, float]]:
    """The text encoder."""
    encoder = rec.fitted.text_encoder
    model, described = encoder.load("cpu"), describe_items(rec.catalog, encoder.prompt)[:TEXTS]
    plain, table, first = model[0].model, {}, None
    for way in WAYS:
        module = {"int8": int8, "compiled": torch.compile}.get(way, lambda module: module)(plain)
        model[0].model = module
        try:
            with context(way), torch.inference_mode(way != "compiled"), torch.no_grad():
                seconds, found = best_of(lambda: model.encode(described, batch_size=32, show_progress_bar=False))
        except Exception as error:  # what cannot run here is a result, too
            table[way] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"}
            continue
        finally:
            model[0].model = plain
        found = np.asarray(found, dtype=np.float32)
        first = found if first is None else first
        table[way] = {"texts a second": round(TEXTS / seconds, 1), "cosine": round(cosine(found, first), 5)}
        print("texts", way, table[way], flush=True)
    return table


def histories(rec: recllm.Recommender, name: str) -> dict[str, dict[str, float]]:
    """The transformer over histories."""
    folder = DATA / name
    log = recllm.Interactions.read(folder / "interactions.csv.gz")
    log = log.of_users((folder / "test_users.txt").read_text().split())
    tasks = make_tasks(make_histories(log, rec.catalog, rec.model.feedback, seed=0))
    known, model, table, first = tasks.support.last(20), rec.model, {}, None
    encoder, plain, vectors = model.encoder, model.encoder.blocks, model.vectors
    for way in WAYS:
        encoder.blocks = {"int8": int8, "compiled": torch.compile}.get(way, lambda module: module)(plain)

        def users(some: Any) -> Tensor:
            return encode_users(encoder, some, vectors).float()

        try:
            with context(way), torch.no_grad():
                seconds, found = best_of(lambda: users(known).numpy())
                value = mean_ndcg(lambda some: users(some) @ vectors.T, tasks)
        except Exception as error:
            table[way] = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"}
            continue
        finally:
            encoder.blocks = plain
        first = found if first is None else first
        table[way] = {"users a second": round(len(known) / seconds, 1), "cosine": round(cosine(found, first), 5)}
        table[way]["NDCG@10"] = round(value, 5)
        print("histories", way, table[way], flush=True)
    return table | {"vectors": items(users(known), vectors, tasks, users)}  # type: ignore[dict-item]


def items(asking: Tensor, vectors: Tensor, tasks: Any, users: Callable[[Any], Tensor]) -> dict[str, dict[str, float]]:
    """Item vectors with fewer bits: what is left of the ten best, and of NDCG@10."""
    scale = vectors.abs().amax(dim=1, keepdim=True) / 127
    kinds = {
        "float32": vectors,
        "bfloat16": vectors.bfloat16(),
        "float16": vectors.half(),
        "int8": ((vectors / scale).round().to(torch.int8)),
    }
    table, first = {}, None
    for name, kind in kinds.items():
        read = kind.float() * scale if kind.dtype == torch.int8 else kind.float()
        best = (asking @ read.T).topk(10, dim=1).indices
        first = best if first is None else first
        same = (best.unsqueeze(2) == first.unsqueeze(1)).any(dim=2).float().mean()
        table[name] = {
            "bytes an item": kind.element_size() * kind.shape[1] + (4 if kind.dtype == torch.int8 else 0),
            "of ten the same": round(float(same), 4),
            "NDCG@10": round(mean_ndcg(lambda some, read=read: users(some) @ read.T, tasks), 5),
        }
        print("vectors", name, table[name], flush=True)
    return table


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set")
    parser.add_argument("model", type=Path)
    options = parser.parse_args()
    rec = recllm.Recommender.load(options.model)
    with torch.no_grad():
        found = {"histories": histories(rec, options.set), "texts": texts(rec)}
    OUT.write_text(json.dumps({options.set: found, "threads": torch.get_num_threads()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
