"""Recommendations from catalog text and events, personal after a handful of events, with reasons that can be checked.

The public names are imported on first use, so that `import recllm` costs next to nothing: neither torch nor
transformers is loaded before something needs them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recllm import prompts, scale
    from recllm.adaptation.adapters import Adapters
    from recllm.counts.private import PrivacyConfig
    from recllm.data.catalog import Catalog
    from recllm.data.interactions import Interactions, load_demo
    from recllm.data.users import Users
    from recllm.errors import (
        AdapterMismatch,
        ArtifactError,
        BackboneError,
        BusyError,
        ConfigError,
        ConflictError,
        DataError,
        ForkError,
        GenerationError,
        LeakageError,
        MissingExtraError,
        NotFittedError,
        PromptError,
        RecllmError,
        ResourceError,
        ServeError,
        StorageError,
        UnknownError,
        UnreachableError,
        WorkerError,
    )
    from recllm.evaluation.run import evaluate
    from recllm.explain.explainer import Explainer
    from recllm.lists.results import Explanations, Recommendations
    from recllm.model.config import ExplanationConfig
    from recllm.options import TrainOptions
    from recllm.prompting.generator import CannedGenerator
    from recllm.prompting.open import open_generator
    from recllm.ranking.ratings.ratings import RatingConfig
    from recllm.ranking.wishes import Wish
    from recllm.recommender import Recommender, RecommenderConfig
    from recllm.resources import __version__
    from recllm.retrieval.people import ProfilesConfig

__all__ = [
    "AdapterMismatch",
    "Adapters",
    "ArtifactError",
    "BackboneError",
    "BusyError",
    "CannedGenerator",
    "Catalog",
    "ConfigError",
    "ConflictError",
    "DataError",
    "Explainer",
    "ExplanationConfig",
    "Explanations",
    "ForkError",
    "GenerationError",
    "Interactions",
    "LeakageError",
    "MissingExtraError",
    "NotFittedError",
    "PrivacyConfig",
    "ProfilesConfig",
    "PromptError",
    "RatingConfig",
    "RecllmError",
    "Recommendations",
    "Recommender",
    "RecommenderConfig",
    "ResourceError",
    "ServeError",
    "StorageError",
    "TrainOptions",
    "UnknownError",
    "UnreachableError",
    "Users",
    "Wish",
    "WorkerError",
    "__version__",
    "evaluate",
    "load_demo",
    "open_generator",
    "prompts",
    "scale",
]

_MODULES = ("prompts", "scale")

_HOMES = {
    "Adapters": "recllm.adaptation.adapters",
    "CannedGenerator": "recllm.prompting.generator",
    "Catalog": "recllm.data.catalog",
    "Explainer": "recllm.explain.explainer",
    "ExplanationConfig": "recllm.model.config",
    "Explanations": "recllm.lists.results",
    "Interactions": "recllm.data.interactions",
    "PrivacyConfig": "recllm.counts.private",
    "ProfilesConfig": "recllm.retrieval.people",
    "RatingConfig": "recllm.ranking.ratings.ratings",
    "Recommendations": "recllm.lists.results",
    "Recommender": "recllm.recommender",
    "RecommenderConfig": "recllm.recommender",
    "TrainOptions": "recllm.options",
    "Users": "recllm.data.users",
    "Wish": "recllm.ranking.wishes",
    "__version__": "recllm.resources",
    "evaluate": "recllm.evaluation.run",
    "load_demo": "recllm.data.interactions",
    "open_generator": "recllm.prompting.open",
}


def __getattr__(name: str) -> Any:
    """Import a public name where it lives, once."""
    if name in _MODULES:
        return importlib.import_module(f"recllm.{name}")
    home = _HOMES.get(name)
    if home is None:
        if name not in __all__:
            raise AttributeError(f"module 'recllm' has no attribute {name!r}; it offers {', '.join(__all__)}")
        home = "recllm.errors"
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, whether or not they have been imported yet."""
    return sorted(set(globals()) | set(__all__))
