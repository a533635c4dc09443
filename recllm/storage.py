"""A recommender as a folder: safetensors for arrays, JSON for the rest, and a card for people."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from recllm.adaptation.meta import MetaLearner
from recllm.adaptation.support import Contrast
from recllm.artifact import Artifact, load_artifact, save_artifact
from recllm.config import from_mapping, to_mapping
from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport
from recllm.data.feedback import Feedback
from recllm.data.interactions import Interactions
from recllm.data.trained import TrainedOn
from recllm.encoders.finetuning.adapter import TextAdapter
from recllm.encoders.history import HistoryEncoder, ItemEncoder
from recllm.encoders.text import Whitening
from recllm.errors import ArtifactError, ConfigError
from recllm.fitting import FitReport, RecommenderConfig
from recllm.model import Model, load_state
from recllm.ranking.head import RankingHead
from recllm.retrieval.channels import Channels

KIND = "recommender"
EVENT_COLUMNS = ("timestamp", "rating", "event", "weight")


def save_recommender(
    folder: str | Path,
    config: RecommenderConfig,
    model: Model,
    events: Interactions,
    trained: TrainedOn,
    report: FitReport,
    seed: int,
    fingerprint: str,
) -> None:
    """Write everything; see `Recommender.save`."""
    frame = model.catalog.frame
    columns = [name for name in EVENT_COLUMNS if name in events.frame.columns]
    documents = {
        "config": to_mapping(config),
        "feedback": asdict(model.feedback),
        "blocks": model.encoder.blocks.config.to_dict(),
        "catalog": {"schema": {n: str(t) for n, t in frame.schema.items()}, "columns": frame.to_dict(as_series=False)},
        "events": {
            "user_ids": list(events.user_ids),
            "timed": events.timed,
            "event_names": _event_names(events),
            "columns": columns,
        },
        "report": asdict(report),
        "run": {"seed": seed, "fingerprint": fingerprint, "trained_until": trained.until},
    }
    if model.text_adapter is not None:
        documents["text_adapter"] = dict(model.text_adapter.config)
    tensors = model.tensors() | {"events": _event_arrays(events, model.catalog), "trained": {"users": trained.users}}
    save_artifact(folder, tensors=tensors, documents=documents, card=card(config, model, report), kind=KIND)


def load_recommender(folder: str | Path) -> tuple[RecommenderConfig, Model, Interactions, TrainedOn, FitReport, int]:
    """Read what `save_recommender` wrote; the backbone itself is not needed for anything but new texts."""
    artifact = load_artifact(folder, KIND)
    try:
        documents = artifact.documents
        config = from_mapping(RecommenderConfig, documents["config"])
        feedback = from_mapping(Feedback, documents["feedback"], "feedback")
        catalog = _catalog(documents["catalog"])
        model = _model(artifact, config, feedback, catalog)
        events = _events(documents["events"], artifact.tensors["events"], catalog)
        report, run = FitReport(**documents["report"]), documents["run"]
        trained = TrainedOn(artifact.tensors["trained"]["users"], float(run["trained_until"]))
        return config, model, events, trained, report, int(run["seed"])
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(
            f"{folder} does not hold a recommender this version can read: {error}; fit it again."
        ) from error


def card(config: RecommenderConfig, model: Model, report: FitReport) -> str:
    """What this model is, from what it was made, and how good it was on users held out of training."""
    counts = "\n".join(f"- {name}: {value:,}" for name, value in report.counts.items())
    figures = "\n".join(f"| {name} | {value:.4f} |" for name, value in report.figures.items())
    seconds = "\n".join(f"- {name}: {value:.0f} s" for name, value in report.seconds.items())
    stopped = "\n".join(f"- {name}: {reason}" for name, reason in report.stopped.items())
    curves = "\n\n".join(_curve(name, points) for name, points in report.curves.items())
    return f"""# A recllm recommender

Items by text ({"fine-tuned" if model.text_adapter else "frozen"} `{config.text.backbone}`, prompt
`{config.text.prompt}`), histories by the first {config.history.depth} block(s) of the same transformer,
{_adaptation(model)}.

Users' adapters are functions of their own events. The shared weights were shaped by all
{report.counts.get("users", 0):,} training users; forgetting a user deletes their events here and not their part in
those weights.

## Made from
{counts}

## NDCG@10 on users held out of training, mean over 1, 3, 5, 10 and 20 known events
| part | NDCG@10 |
|---|---|
{figures}

## Time
{seconds}

{stopped}

## Curves
{curves}
"""


def _adaptation(model: Model) -> str:
    if model.learner is None:
        return "no adaptation"
    if not model.learner.open:
        return "users' adapters left alone, since they did not help users held out of training"
    return "users by LoRA adapters of their own"


def adapter_card(config: RecommenderConfig, report: FitReport) -> str:
    """What a text adapter is, for the folder it is exported to."""
    backbone = config.text.backbone
    return f"""---
library_name: peft
tags: [sentence-transformers, lora, recommendation]
---
# A text adapter

LoRA on the last {config.finetuning.blocks} block(s) of the sentence encoder `{backbone}`, fine-tuned by recllm on
{report.counts.get("items", 0):,} items and the events of {report.counts.get("base users", 0):,} users: texts of items
that the same people like are near each other.

{report.stopped.get("fine-tuning", "")}

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("{backbone}")  # `minilm` is sentence-transformers/all-MiniLM-L6-v2
model.load_adapter("path/to/this/folder")
model.max_seq_length = {config.text.max_tokens}
```

Items are put into words by the prompt `{config.text.prompt}`. The adapter was trained to be used with whitening, whose
statistics are in the recommender. It comes from {report.counts.get("events", 0):,} events and holds no user's own data.
The backbone's licence applies.
"""


def _curve(name: str, points: list[tuple[int, float | None, float]]) -> str:
    lines = "\n".join(
        f"| {step} | {'–' if loss is None else f'{loss:.4f}'} | {value:.4f} |" for step, loss, value in points
    )
    return f"{name}\n\n| step | training loss | validation NDCG@10 |\n|---|---|---|\n{lines}"


def _model(artifact: Artifact, config: RecommenderConfig, feedback: Feedback, catalog: Catalog) -> Model:
    from transformers import AutoConfig, AutoModel

    from recllm.encoders.backbone import without_unused_parts

    saved = artifact.tensors
    settings = dict(artifact.documents["blocks"])
    shape = AutoConfig.for_model(settings.pop("model_type"), **settings)
    encoder = HistoryEncoder(without_unused_parts(AutoModel.from_config(shape)), feedback.n_tokens, config.history)
    load_state(encoder, saved["encoder"])
    whitening = Whitening(saved["text"]["mean"], saved["text"]["matrix"])
    white = torch.from_numpy(whitening(saved["text"]["vectors"]))
    items = ItemEncoder(white, torch.from_numpy(saved["items"]["warm"]), encoder.width, config.history.delta_bound)
    load_state(items, {name: array for name, array in saved["items"].items() if name != "warm"})
    text_adapter = None
    if "text_adapter" in saved:
        text_adapter = TextAdapter(artifact.documents["text_adapter"], saved["text_adapter"])
    channels = Channels.from_tensors(saved["channels"], white)
    head = RankingHead(len(channels.names), config.ranking)
    load_state(head, saved["head"])
    for part in (encoder, items, head):
        part.requires_grad_(False)
    model = Model(
        catalog,
        feedback,
        saved["text"]["vectors"],
        whitening,
        encoder,
        items,
        None,
        channels,
        head,
        config.retrieval,
        text_adapter,
    )
    if "adaptation" in saved:
        assert config.adaptation is not None
        arrays = saved["adaptation"]
        contrast = Contrast(*(torch.from_numpy(arrays[name].copy()) for name in ("contrast_rows", "contrast_raised")))
        model.learner = MetaLearner(model.base, config.adaptation, contrast, seed=0)
        load_state(model.learner, arrays)
        model.learner.requires_grad_(False)
    return model


def _catalog(saved: dict[str, Any]) -> Catalog:
    types: dict[str, pl.DataType] = {
        "String": pl.String(),
        "Int64": pl.Int64(),
        "Float64": pl.Float64(),
        "Boolean": pl.Boolean(),
        "List(String)": pl.List(pl.String),
    }
    frame = pl.DataFrame(
        [pl.Series(name, saved["columns"][name], dtype=types[kind]) for name, kind in saved["schema"].items()]
    )
    return Catalog(frame, CleaningReport("saved catalog", frame.height, frame.height))


def _event_names(events: Interactions) -> list[str]:
    if "event" not in events.frame.columns:
        return []
    return sorted(set(events.frame["event"].drop_nulls().to_list()))


def _event_arrays(events: Interactions, catalog: Catalog) -> dict[str, np.ndarray]:
    """Events as numbers: users by their place, items by catalog row, event names by their place."""
    frame = events.frame
    arrays = {"user": events.user_rows.astype(np.int32), "item": events.item_rows(catalog).astype(np.int32)}
    for name in EVENT_COLUMNS:
        if name not in frame.columns:
            continue
        if name == "event":
            places = {event: place for place, event in enumerate(_event_names(events))}
            arrays[name] = np.array([places.get(event, -1) for event in frame[name].to_list()], dtype=np.int32)
        elif name == "timestamp":
            arrays[name] = frame[name].to_numpy()
        else:
            arrays[name] = frame[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    return arrays


def _events(saved: dict[str, Any], arrays: dict[str, np.ndarray], catalog: Catalog) -> Interactions:
    users, items = np.array(saved["user_ids"], dtype=object), np.array(catalog.item_ids, dtype=object)
    columns = {
        "user_id": pl.Series(users[arrays["user"]].tolist(), dtype=pl.String),
        "item_id": pl.Series(items[arrays["item"]].tolist(), dtype=pl.String),
        "timestamp": pl.Series(arrays["timestamp"], dtype=pl.Float64),
    }
    for name in saved["columns"]:
        if name == "event":
            names = [*saved["event_names"], None]
            columns[name] = pl.Series([names[place] for place in arrays[name].tolist()], dtype=pl.String)
        elif name != "timestamp":
            columns[name] = pl.Series(arrays[name], dtype=pl.Float32).fill_nan(None)
    frame = pl.DataFrame(columns)
    report = CleaningReport("saved events", frame.height, frame.height)
    return Interactions(frame, report, saved["user_ids"], saved["timed"])
