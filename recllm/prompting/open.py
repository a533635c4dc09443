"""From a name to a language model."""

import re
from collections.abc import Sequence

from recllm.errors import BackboneError
from recllm.prompting.endpoint import LOCAL_HOSTS, EndpointGenerator
from recllm.prompting.generator import Generator
from recllm.prompting.local import TransformersGenerator


def open_generator(spec: str, *, allow_hosts: Sequence[str] = LOCAL_HOSTS) -> Generator:
    """A language model by name.

    Args:
        spec: `"smollm2"` (a package embeds it; it only chooses), `"http://localhost:8000/v1#model"` (anything that
            speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp), or the folder or hub name of a causal language
            model of transformers.
        allow_hosts: Where an endpoint may be; events and catalog text leave the machine for any other than these.

    Raises:
        ConfigError: The URL cannot be used, or its host is not allowed.
        BackboneError: No such model is here, or it cannot be loaded.
        MissingExtraError: What is needed to speak to it is not installed (`pip install 'recllm[llm]'`).
    """
    if re.match(r"https?://", spec, re.IGNORECASE):
        url, _, model = spec.partition("#")
        return EndpointGenerator(url, model, allow_hosts=allow_hosts)
    from recllm.prompting.smollm2 import NAME, open_smollm2  # needs NumPy, which a URL does without

    if spec == NAME:
        return open_smollm2()
    if not spec:
        raise BackboneError(f"a language model has no name; give {NAME!r}, a URL, a folder or a hub name")
    return TransformersGenerator(spec)
