"""A causal language model of transformers on this machine.

It chooses by what the facts change: an option's score is how much more probable the facts make it. Probability alone
would prefer common phrases (SmolLM2-135M, 24 made-up questions, half of them held out: 10 right against 24).
"""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

from recllm.errors import BackboneError, GenerationError, require
from recllm.prompting.generator import Choice, Generator
from recllm.prompting.replies import read_json
from recllm.prompting.scoring import Tokens, log_probabilities, read
from recllm.resources import quiet_loading

Dtype = Literal["auto", "float32", "bfloat16"]
Attention = Literal["sdpa", "eager"]

_NO_FACTS = "No facts are known."
_LEAST_GAIN = 0.7
"""Nats per token that the facts must add to an option, or none is chosen. With SmolLM2-135M and 24 made-up questions in
two wordings, the right one of four gains that in 48 of 48. Among four wrong ones, none is chosen in 23 of 24 if they
speak of something else, and in 11 of 24 if they are near misses: it spares the reader nonsense, and is no check of what
the options say."""
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@final
class TransformersGenerator(Generator):
    """Runs a model in this process; answers are greedy, so the same question gets the same answer.

    Only safetensors are read, and no code that comes with a model is run.

    Args:
        model_id: A folder, or a name on the model hub, whose cache is looked into first.
        writes: Whether it is trusted with free text.
        name: For labels; the last part of `model_id` by default.
        device: Where to compute.
        dtype: `"auto"` is bfloat16 where the machine computes it natively, else float32.
        attention: `"eager"` is a little faster for short prompts on a CPU, and needs memory for long ones.
        seconds: The longest that `generate` may take.

    Raises:
        BackboneError: There is no such model, or it cannot be loaded.
    """

    def __init__(
        self,
        model_id: str,
        *,
        writes: bool = True,
        name: str | None = None,
        device: str = "cpu",
        dtype: Dtype = "auto",
        attention: Attention = "sdpa",
        seconds: float = 60.0,
    ) -> None:
        self.name, self.writes = name or Path(model_id).name, writes
        self._tokenizer, self._model = _load(model_id, device, dtype, attention)
        self._device, self._seconds = device, seconds
        self._longest = int(getattr(self._model.config, "max_position_embeddings", None) or 2048)
        self._end = self._tokenizer.eos_token_id
        self._control = _any_of({*self._tokenizer.all_special_tokens, *self._tokenizer.get_added_vocab()})

    def __repr__(self) -> str:
        return f"TransformersGenerator({self.name!r})"

    def generate(
        self, system: str, user: str, *, max_tokens: int = 160, schema: Mapping[str, Any] | None = None
    ) -> str:
        """The most probable text, token by token; with a schema, only tokens that lead to such JSON are considered."""
        import torch

        prompt = self._prompt(system, user)
        self._check_length(len(prompt) + max_tokens)
        grammar = None if schema is None else self._grammar(schema)
        until = time.monotonic() + self._seconds
        with torch.inference_mode():
            written = self._write(prompt, max_tokens, grammar, until)
        text = str(self._tokenizer.decode(written, skip_special_tokens=True)).strip()
        if not text:
            raise self._error("wrote nothing", "change the prompt, or use another model")
        if schema is not None:
            read_json(text, schema)
        return text

    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        """The option that the facts make more probable than they make the others."""
        return self.choose_many([(system, user, options)])[0]

    def choose_many(self, questions: Sequence[Choice | tuple[str, str, Sequence[str]]]) -> list[int | None]:
        """All questions in one batch; what their prompts begin with is read once.

        An option's gain is log p(option | system, user) - log p(option | system, no facts), summed over its tokens. The
        greatest gain wins; if it is less than 0.7 nats per token, None does.
        """
        import torch

        encoded = []
        for system, user, options in questions:
            told, untold = self._prompt(system, user), self._prompt(system, _NO_FACTS)
            answers = [self._answer(option) for option in options]
            encoded.append((told, untold, answers))
        pairs = list(
            dict.fromkeys((p, a) for told, untold, answers in encoded for p in (told, untold) for a in answers)
        )
        if not pairs:
            return [None] * len(encoded)
        self._check_length(max(len(prompt) + len(answer) for prompt, answer in pairs))
        with torch.inference_mode():
            scores = log_probabilities(self._model, pairs)
        return [
            _most_gained([(scores[told, answer] - scores[untold, answer], len(answer)) for answer in answers])
            for told, untold, answers in encoded
        ]

    # --- prompts ---

    def _prompt(self, system: str, user: str) -> Tokens:
        system, user = self._inert(system), self._inert(user)
        if self._tokenizer.chat_template is None:
            return tuple(self._tokenizer(f"{system}\n\n{user}\n").input_ids)
        try:
            text = self._chat({"role": "system", "content": system}, {"role": "user", "content": user})
        except require("jinja2", extra="llm").TemplateError:  # some models know no system role
            text = self._chat({"role": "user", "content": f"{system}\n\n{user}"})
        return tuple(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _chat(self, *messages: dict[str, str]) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )

    def _answer(self, text: str) -> Tokens:
        tokens = self._tokenizer(self._inert(text), add_special_tokens=False).input_ids
        return tuple(tokens if self._end is None else [*tokens, self._end])

    def _inert(self, text: str) -> str:
        """Without what only the chat template may write: a title must not end its message and begin another."""
        return self._control.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))

    def _check_length(self, tokens: int) -> None:
        if tokens > self._longest:
            raise self._error(f"was given {tokens} tokens and reads {self._longest}", "shorten the prompt")

    def _error(self, what: str, advice: str) -> GenerationError:
        return GenerationError(f"the language model {self.name} {what}; {advice}")

    # --- writing ---

    def _write(self, prompt: Tokens, max_tokens: int, grammar: Any, until: float) -> list[int]:
        import numpy as np
        import torch

        ends = {self._end, *_several(self._model.generation_config.eos_token_id)}
        cache = read(self._model, [prompt[:-1]], None)
        token = prompt[-1]
        written: list[int] = []
        while len(written) < max_tokens:
            if time.monotonic() > until:
                raise self._error(f"did not finish within {self._seconds:g} s", "ask for fewer tokens")
            fed = torch.tensor([[token]], device=self._device)
            logits = self._model(input_ids=fed, past_key_values=cache, use_cache=True).logits[0, -1]
            if grammar is not None:
                bits = np.unpackbits(np.frombuffer(grammar.compute_bitmask(), np.uint8), bitorder="little")
                allowed = torch.from_numpy(bits[: len(logits)]).to(self._device, torch.bool)
                logits[: len(allowed)].masked_fill_(~allowed, float("-inf"))
            token = int(logits.argmax())
            if token in ends:
                return written
            written.append(token)
            if grammar is not None and (not grammar.consume_token(token) or grammar.is_stopped()):
                return written
        if grammar is not None and not grammar.is_accepting():
            raise self._error(f"did not complete its JSON within {max_tokens} tokens", "raise max_tokens")
        return written

    @cached_property
    def _grammar_tokenizer(self) -> Any:
        words = self._model.get_input_embeddings().num_embeddings
        return require("llguidance.hf", extra="llm").from_tokenizer(self._tokenizer, n_vocab=words)

    def _grammar(self, schema: Mapping[str, Any]) -> Any:
        llguidance = require("llguidance", extra="llm")
        # A small model may otherwise fill its tokens with line breaks.
        source = llguidance.LLMatcher.grammar_from_json_schema(
            json.dumps(schema), overrides={"whitespace_flexible": False}
        )
        matcher = llguidance.LLMatcher(self._grammar_tokenizer, source, log_level=0)
        if matcher.is_error():
            problem = matcher.get_error().partition("\n")[0]
            raise self._error(f"cannot be held to the JSON schema ({problem})", "change the schema")
        return matcher


def _most_gained(gains: Sequence[tuple[float, int]]) -> int | None:
    """Row of the greatest of (gain, tokens), if it is great enough for its length."""
    if not gains:
        return None
    best = max(range(len(gains)), key=lambda row: gains[row][0])
    gain, tokens = gains[best]
    return best if gain >= _LEAST_GAIN * tokens else None


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(filter(str.strip, words), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")


def _several(value: int | list[int] | None) -> list[int]:
    return value if isinstance(value, list) else [] if value is None else [value]


# --- loading -----------------------------------------------------------------------------------------------------


def _load(model_id: str, device: str, dtype: Dtype, attention: Attention) -> tuple[Any, Any]:
    """(tokenizer, model), from a folder, the hub's cache, or the hub."""
    folder = Path(model_id).expanduser()
    if (folder / "config.json").is_file():
        return _load_from(str(folder), device, dtype, attention, local=True)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", model_id):
        raise BackboneError(
            f"the language model {model_id!r} was not found: no folder of that name with a config.json, and not of the "
            "hub's form 'owner/name'; give one of these, 'smollm2', or the URL of an endpoint"
        )
    try:
        return _load_from(model_id, device, dtype, attention, local=True)
    except BackboneError:  # not in the hub's cache; a machine without a network should not wait before that is known
        return _load_from(model_id, device, dtype, attention, local=False)


def _load_from(place: str, device: str, dtype: Dtype, attention: Attention, *, local: bool) -> tuple[Any, Any]:
    import safetensors
    import torch
    import transformers

    native = device != "cpu" or bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    chosen = ("bfloat16" if native else "float32") if dtype == "auto" else dtype
    options: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
    try:
        with quiet_loading():
            config = transformers.AutoConfig.from_pretrained(place, **options)
            if not any(name.endswith(_CAUSAL) for name in config.architectures or ()):
                raise ValueError(f"it is no causal language model but {', '.join(config.architectures or ['nothing'])}")
            tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
            model, report = transformers.AutoModelForCausalLM.from_pretrained(
                place,
                dtype=chosen,
                attn_implementation=attention,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
            if missing := sorted(report["missing_keys"]):
                raise ValueError(f"weights are missing, such as {missing[0]!r}")
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, safetensors.SafetensorError) as error:
        raise BackboneError(
            f"the language model {place!r} could not be loaded: {str(error).partition(chr(10))[0]}; give the folder or "
            "hub name of a causal language model with safetensors, or 'smollm2'"
        ) from error
    return tokenizer, model.to(device).eval()
