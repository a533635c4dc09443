"""The parts of a model from saved arrays, each checked before it is built."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from recllm.adaptation.drift import Drift
from recllm.adaptation.meta import MetaLearner, learner_for
from recllm.adaptation.own import OwnStep
from recllm.adaptation.support import Contrast
from recllm.artifact import Artifact
from recllm.artifact.arrays import SavedArrays
from recllm.artifact.rows import FilePart, Rows
from recllm.data.catalog import Catalog
from recllm.data.cleaning import CleaningReport
from recllm.data.feedback import Feedback
from recllm.data.saved import saved_ids
from recllm.data.users import Users
from recllm.encoders.finetuning.adapter import TextAdapter
from recllm.encoders.history import ItemEncoder
from recllm.encoders.saved import load_history_encoder
from recllm.encoders.senses import Senses
from recllm.encoders.text import Whitening
from recllm.errors import ArtifactError
from recllm.model.config import RecommenderConfig
from recllm.model.contents import load_state
from recllm.model.model import Model
from recllm.model.texts import ItemTexts
from recllm.prompting.template import Prompt, parse_prompt
from recllm.ranking.head import RankingHead
from recllm.ranking.ratings.ratings import Ratings
from recllm.retrieval.channels.profile import SameProfile
from recllm.retrieval.people import People
from recllm.retrieval.scoring import Channels

LARGEST_WHITENING = 1e7
"""Of the whitening matrix: the inverse of the smallest spread it knows."""


def read_model(artifact: Artifact, config: RecommenderConfig, feedback: Feedback, catalog: Catalog) -> Model:
    """The model of a saved recommender.

    Raises:
        ArtifactError: Something is missing, of another shape or out of range.
    """
    saved = {name: SavedArrays(name, arrays) for name, arrays in artifact.tensors.items()}
    encoder = load_history_encoder(artifact.documents["blocks"], saved["encoder"], feedback.n_tokens, config.history)
    vectors, whitening, white = _text(artifact, saved.pop("text"), len(catalog))
    senses, beside = _senses(saved, artifact.documents["run"].get("senses", []), len(catalog))
    whole = senses.beside(white, beside)
    items = _items(saved.pop("items"), whole, encoder.width, config.history.delta_bound)
    for group in ("text", "items"):  # let go here: at a million items they are half of what is read
        del artifact.tensors[group]
    text_adapter = None
    if "text_adapter" in saved:
        text_adapter = TextAdapter.from_saved(artifact.documents["text_adapter"], saved["text_adapter"])
    run = artifact.documents["run"]
    channels = Channels.from_tensors(
        artifact.tensors["channels"], white, _channel_names(run), run.get("settings"), beside, _people(artifact)
    )
    for channel in channels.fitted:
        if isinstance(channel, SameProfile) and channel.counts.shape[0] != channels.people.size:
            raise ArtifactError("other values of profiles are counted than profiles have")
    # A head that a prior made is as wide as the prior's; memory stands behind a saved array, and not behind a setting.
    made = "own" in saved
    width = len(saved["head"].floats("hidden.bias", None)) if made else config.ranking.hidden
    own = OwnStep.from_tensors(saved["own"], len(channels.names), width) if made else None
    saved["head"].floats("hidden.weight", width, len(channels.names) + 2)
    head = RankingHead(len(channels.names), replace(config.ranking, hidden=width))
    load_state(head, saved["head"])
    backbone = run["backbone"]
    if backbone is not None and not isinstance(backbone, str):
        raise ArtifactError("the digest of the backbone is none")
    for part in (encoder, items, head):
        part.requires_grad_(False)
    prompt = _prompt(artifact.documents.get("prompt"))
    texts = ItemTexts(vectors, whitening, text_adapter, backbone, prompt, senses, beside)
    model = Model.of(config, catalog, feedback, texts, channels, encoder, items, head)
    model.own = own
    if "ratings" in saved:
        model.ratings = Ratings.from_tensors(saved["ratings"], len(catalog), white.shape[1])
    if "drift" in saved:
        model = model.with_drift(Drift.from_tensors(saved["drift"], head.channels))
    if "adaptation" in saved:
        model.learner = _learner(saved["adaptation"], model, config)
    return model


def _prompt(saved: Any) -> Prompt | None:
    """None: it was saved by a version that kept the prompt's name only."""
    if saved is None:
        return None
    parts = (saved["name"], saved["source"], *saved["partials"], *saved["partials"].values())
    if not all(isinstance(part, str) for part in parts):
        raise ArtifactError("its prompt is no text")
    return parse_prompt(saved["source"], saved["name"], saved["partials"])


def _channel_names(run: Mapping[str, Any]) -> list[str] | None:
    """None: it was saved by version 0.1.0, which did not say."""
    names = run.get("channels")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ArtifactError("the names of the channels are none")
    return names


def _text(artifact: Artifact, saved: SavedArrays, items: int) -> tuple[Rows, Whitening, torch.Tensor]:
    vectors = saved.floats("vectors", items, None)
    dim = vectors.shape[1]
    matrix = saved.floats("matrix", dim, dim, least=-LARGEST_WHITENING, most=LARGEST_WHITENING)
    whitening = Whitening(saved.floats("mean", dim), matrix)
    saved.all_taken()
    rows = artifact.rows("text", "vectors")
    white = whitening(vectors, spent=isinstance(rows.parts[0], FilePart))
    # A NaN is neither; whoever asks number by number needs as much memory again.
    if white.size and not (np.isfinite(white.min()) and np.isfinite(white.max())):
        raise ArtifactError("its whitening leaves no numbers")
    return rows, whitening, torch.from_numpy(white)


def _people(artifact: Artifact) -> People:
    """Users' profiles, as they are read; nobody's in a model that was saved without."""
    if "profiles" not in artifact.tables:
        return People.nobody()
    frame = artifact.tables["profiles"]
    saved_ids("the profiles", frame, "user_id")
    users = Users(frame, CleaningReport("saved profiles", frame.height, frame.height))
    return People.from_dict(users, artifact.documents["run"].get("profiles", []))


def _senses(saved: Mapping[str, SavedArrays], names: Any, items: int) -> tuple[Senses, torch.Tensor]:
    """How other vectors of items are whitened, and those of the items, float32 [items, width]."""
    if not names or "senses" not in saved:
        return Senses(), torch.zeros(items, 0)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ArtifactError("the names of the items' vectors are none")
    arrays = saved["senses"]
    senses = Senses.from_tensors(arrays, names)
    white = arrays.floats("white", items, senses.width, least=-1.001, most=1.001)
    arrays.all_taken()
    return senses, torch.from_numpy(white.copy())


def _items(saved: SavedArrays, white: torch.Tensor, width: int, bound: float) -> ItemEncoder:
    # Before it is built. Up to version 0.1.0 zeros were saved where nothing was learned.
    learned = "delta" in saved and bool(saved.floats("delta", len(white), width).any())
    project = saved.floats("project.weight", width, white.shape[1])
    warm = torch.from_numpy(saved.booleans("warm", len(white)))
    items = ItemEncoder(white, warm, width, bound, learns=learned)
    if learned:
        load_state(items, saved)
    else:
        items.project.load_state_dict({"weight": torch.from_numpy(project.copy())})
        saved.all_taken()
    return items


def _learner(saved: SavedArrays, model: Model, config: RecommenderConfig) -> MetaLearner:
    settings = config.adaptation
    if settings is None:
        raise ArtifactError("it has a meta-learned start, and settings without adaptation")
    # Before it is built: only what there are numbers for.
    steps = saved.shape("step_sizes.0")
    if not steps or settings.inner_steps != steps[0]:
        raise ArtifactError(f"adaptation.inner_steps is {settings.inner_steps}, and there are steps for {steps}")
    if "history" in settings.places and settings.lora_rank not in saved.shape("start_matrices.0"):
        raise ArtifactError(f"adaptation.lora_rank is {settings.lora_rank}, and the start is of another rank")
    rows = saved.integers("contrast_rows", None, least=0, below=len(model.catalog))
    contrast = Contrast(
        torch.from_numpy(rows.copy()), torch.from_numpy(saved.floats("contrast_raised", len(rows)).copy())
    )
    learner = learner_for(model.base, settings, 0, contrast)
    load_state(learner, saved)
    return learner.requires_grad_(False)
