"""A recommender as a folder: safetensors for arrays, Arrow for catalog and events, JSON for the rest, and a card.

What is loaded is checked once, part by part, before it is used: a model that was loaded answers.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from recllm.artifact import Artifact, load_artifact, save_artifact
from recllm.artifact.arrays import SavedArrays
from recllm.config import from_mapping, to_mapping
from recllm.counts.counts import Counts
from recllm.counts.items import resolution_of
from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.memory import Memory
from recllm.data.saved import LATEST, check_columns, event_table, id_table, saved_events, saved_ids
from recllm.data.trained import HASH_BYTES, TrainedOn
from recllm.encoders.saved import block_settings
from recllm.errors import ArtifactError
from recllm.model.card import card
from recllm.model.config import RecommenderConfig
from recllm.model.counted import Counted, counted_pairs
from recllm.model.fitted import Fitted
from recllm.model.model import Model
from recllm.model.parts import read_model
from recllm.model.report import FitReport

KIND = "recommender"


def save_recommender(folder: str | Path, state: Fitted) -> None:
    """Write everything; see `Recommender.save`."""
    model, events = state.model, state.memory.log
    documents = {
        "config": to_mapping(state.config),
        "feedback": asdict(model.feedback),
        "blocks": block_settings(model.encoder),
        "events": {"timed": events.timed},
        "report": _plain(asdict(state.report)),
        "run": {
            "seed": state.seed,
            "fingerprint": state.fingerprint,
            "trained_until": state.trained.until,
            "backbone": model.backbone,
            "channels": list(model.channels.names),
            "profiles": model.channels.people.to_dict(),
            "senses": list(model.senses.whitening),
            "settings": dict(model.channels.settings),
            "since_weights": state.counted.since_weights,
            "since_fit": state.counted.since_fit,
            "weights_from": state.counted.weights_from,
        },
    }
    if model.prompt is not None:
        prompt = model.prompt
        documents["prompt"] = {"name": prompt.name, "source": prompt.source, "partials": dict(prompt.partials)}
    if model.text_adapter is not None:
        documents["text_adapter"] = dict(model.text_adapter.config)
    # Pairs are most of the counts, and can be counted again where the events are kept.
    counts = state.counted.counts.tensors(pairs=not state.config.recounts)
    tensors = model.tensors()
    if not model.items.learns:  # else a zero for every number of a vector
        tensors["items"] = {name: array for name, array in tensors["items"].items() if name != "delta"}
    save_artifact(
        folder,
        tensors={**tensors, "trained": {"users": state.trained.users}, "counts": counts},
        tables={
            "catalog": model.catalog.frame,
            "users": id_table("user_id", events.user_ids),
            "events": event_table(events, model.catalog.item_ids),
            "profiles": model.channels.people.users.frame,
        },
        documents=documents,
        card=card(state.config, model, state.report, state.freshness(None)),
        kind=KIND,
    )


def load_recommender(folder: str | Path) -> Fitted:
    """Read what `save_recommender` wrote; the backbone itself is not needed for anything but new texts."""
    artifact = load_artifact(folder, KIND)
    try:
        state = _state(artifact)
        if state.fingerprint != artifact.documents["run"]["fingerprint"]:
            raise ArtifactError("its parts are not those of one model")
        _ask(state.model)
        return state
    except Exception as error:  # whatever is raised on the way, what was saved is to blame
        raise ArtifactError(
            f"{folder} does not hold a recommender this version can read: {error}; fit it again."
        ) from error


def _state(artifact: Artifact) -> Fitted:
    documents, run = artifact.documents, artifact.documents["run"]
    config = from_mapping(RecommenderConfig, documents["config"])
    feedback = from_mapping(Feedback, documents["feedback"], "feedback")
    catalog = _catalog(artifact.tables["catalog"])
    hashes = SavedArrays("trained", artifact.tensors["trained"])
    users = hashes.integers("users", None, HASH_BYTES, least=0, below=256, dtype=np.uint8)
    if type(run["seed"]) is not int or not 0 <= run["trained_until"] <= LATEST:
        raise ArtifactError("the run has no seed, or no end")
    model = read_model(artifact, config, feedback, catalog)
    ids = saved_ids("the users", artifact.tables["users"], "user_id")
    timed = documents["events"]["timed"]
    memory = Memory.of(saved_events(artifact.tables["events"], ids, catalog.frame["item_id"], timed))
    trained = TrainedOn(users, float(run["trained_until"]))
    counted = _counted(artifact, model, memory, config)
    return Fitted(config, model, memory, trained, _report(documents["report"]), run["seed"], counted)


def _counted(artifact: Artifact, model: Model, memory: Memory, config: RecommenderConfig) -> Counted:
    """What was counted, or the events counted again where they are first needed."""
    run = artifact.documents["run"]
    since_weights, since_fit = run.get("since_weights", 0), run.get("since_fit", 0)
    if any(type(number) is not int or number < 0 for number in (since_weights, since_fit)):
        raise ArtifactError("the run does not say how many events are new")
    weights_from = run.get("weights_from")
    if weights_from is not None and not (type(weights_from) is float and 0 <= weights_from <= LATEST):
        raise ArtifactError("the run does not say from when its weights are")
    if "counts" not in artifact.tensors:  # of version 0.1.0
        histories = make_histories(memory.log, model.catalog, model.feedback, seed=run["seed"])
        counts = Counts.of(histories, len(model.catalog), resolution_of(histories.timestamps))
        return Counted(counts, since_weights, since_fit, weights_from)
    saved = SavedArrays("the counts", artifact.tensors["counts"])
    recount = partial(counted_pairs, memory, model, run["seed"]) if config.recounts else None
    counts = Counts.from_tensors(saved, len(model.catalog), recount)
    saved.all_taken()
    return Counted(counts, since_weights, since_fit, weights_from)


def _ask(model: Model) -> None:
    """The first two questions, of nobody and of somebody: weights that are finite can still multiply to what is not."""
    items = np.arange(min(3, len(model.catalog)))
    histories = Histories(
        ("nobody", "somebody"),
        np.array([0, 0, len(items)]),
        items,
        np.full(len(items), model.channels.trend.end),
        np.ones(len(items), dtype=np.int8),
        np.zeros(len(items), dtype=np.int64),
    )
    for lora in (None, model.adapt(histories) or None):
        if not bool(torch.isfinite(model.scores(histories, lora)).all()):
            raise ArtifactError("its scores are no numbers")


# --- the catalog ------------------------------------------------------------------------------------------


def _catalog(frame: pl.DataFrame) -> Catalog:
    wanted = {"item_id": pl.String, "title": pl.String, "text": pl.String, "categories": pl.List(pl.String)}
    check_columns("the catalog", frame.select(name for name in wanted if name in frame.columns), wanted)
    saved_ids("the catalog", frame, "item_id")
    return Catalog(frame, CleaningReport("saved catalog", frame.height, frame.height))


# --- the report --------------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """What fitting has noted, as JSON: what could not be measured is null there, and no reason to lose a fit."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _report(saved: Mapping[str, Any]) -> FitReport:
    """The inverse of `_plain`: a figure that is null is NaN again; in a curve it stays None, as fitting writes it."""

    def measured(value: Any) -> float | None:
        return None if value is None else 1.0 * value

    known = {field.name for field in fields(FitReport)}
    if not set(saved) <= known:
        raise ArtifactError(f"the report holds {min(set(saved) - known)!r}, which does not belong there")
    found = dict(saved)
    for name in ("figures", "seconds"):
        found[name] = {key: float("nan") if value is None else 1.0 * value for key, value in saved[name].items()}
    found["counts"] = {key: int(value) for key, value in saved["counts"].items()}
    found["stopped"] = {key: str(value) for key, value in saved["stopped"].items()}
    found["curves"] = {
        key: [(int(step), measured(loss), measured(value)) for step, loss, value in points]
        for key, points in saved["curves"].items()
    }
    found["ageing"] = [
        (float(weeks), float(stale), float(fresh), int(tasks)) for weeks, stale, fresh, tasks in saved.get("ageing", ())
    ]
    found["notes"] = [str(note) for note in saved.get("notes", ())]
    return FitReport(**found)
