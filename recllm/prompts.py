"""Prompts, from Python: `recllm.prompts.list()`, `load`, `render`, `lint`, `test`, `diff`, `export`.

Each takes a folder of one's own; without it, the prompts that come with recllm are meant. In a terminal the same is
`recllm prompts …`.
"""

from recllm.prompting.checks import Difference, Finding, Outcome
from recllm.prompting.checks import check_prompts as test
from recllm.prompting.checks import diff_prompts as diff
from recllm.prompting.checks import lint_prompts as lint
from recllm.prompting.checks import render_prompt as render
from recllm.prompting.export import export_prompts as export
from recllm.prompting.floor import complaints
from recllm.prompting.template import Prompt
from recllm.prompting.template import list_prompts as list
from recllm.prompting.template import load_prompt as load
from recllm.prompting.template import parse_prompt as parse

__all__ = [
    "Difference",
    "Finding",
    "Outcome",
    "Prompt",
    "complaints",
    "diff",
    "export",
    "lint",
    "list",
    "load",
    "parse",
    "render",
    "test",
]
