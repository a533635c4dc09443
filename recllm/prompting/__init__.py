"""Prompts: text templates kept as files, for the encoder, for reasons and for language models."""

from recllm.prompting.items import item_values
from recllm.prompting.syntax import clean_text
from recllm.prompting.template import Prompt, list_prompts, load_prompt, parse_prompt

__all__ = ["Prompt", "clean_text", "item_values", "list_prompts", "load_prompt", "parse_prompt"]
