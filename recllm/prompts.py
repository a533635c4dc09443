"""Prompts, from Python: looked at, checked, composed for a catalog, raced on held-out users, promoted and taken back.

    composed = recllm.prompts.compose(catalog)                        # which columns, in which order, and why
    result = recllm.prompts.optimize(catalog, events, folder="prompts/")
    recllm.prompts.promote("prompts/", result.chosen.prompt.name, catalog=catalog)
    recllm.Recommender().fit(catalog, events, prompts="prompts/")     # the promoted one
    recllm.prompts.rollback("prompts/")

Whatever takes a folder takes one of your own; what only looks or checks means, without one, the prompts that come with
recllm. In a terminal the same is `recllm prompts …`.
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
from recllm.tuning.doors import compose, optimize, optimize_words, promote, rollback, tree

__all__ = [
    "Difference",
    "Finding",
    "Outcome",
    "Prompt",
    "complaints",
    "compose",
    "diff",
    "export",
    "lint",
    "list",
    "load",
    "optimize",
    "optimize_words",
    "parse",
    "promote",
    "render",
    "rollback",
    "test",
    "tree",
]
