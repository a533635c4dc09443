"""Prompts: text templates kept as files, for the encoder, for reasons and for language models; and those models."""

from recllm.prompting.generator import CannedGenerator, Choice, Generator
from recllm.prompting.items import item_values
from recllm.prompting.open import open_generator
from recllm.prompting.template import Prompt, list_prompts, load_prompt, parse_prompt

__all__ = [
    "CannedGenerator",
    "Choice",
    "Generator",
    "Prompt",
    "item_values",
    "list_prompts",
    "load_prompt",
    "open_generator",
    "parse_prompt",
]
