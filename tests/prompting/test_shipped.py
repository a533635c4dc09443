"""Every prompt that comes with recllm."""

import pytest

from recllm.prompting import list_prompts, load_prompt
from recllm.resources import data_folder

DOMAINS = ("ecommerce", "education", "finance", "neutral", "social")
# For language models, and what all domains share.
OTHERS = {
    "choose.reason",
    "disclaimer.finance",
    "facts.reason",
    "likewise.neutral",
    "titles.neutral",
    "titles_more.neutral",
    "write.reason",
}
SAMPLES = {"string": "text", "number": 3, "boolean": True, "list": ["one", "two"]}


def test_all_domains_are_there() -> None:
    assert set(list_prompts()) == {f"{task}.{domain}" for task in ("item", "reason") for domain in DOMAINS} | OTHERS


@pytest.mark.parametrize("name", list_prompts())
def test_loads_and_renders(name: str) -> None:
    prompt = load_prompt(name)
    assert prompt.domain == (name.partition(".")[2] if name.partition(".")[2] in DOMAINS else None)
    assert prompt.description.endswith(".")
    everything = {variable.name: SAMPLES[variable.type] for variable in prompt.variables.values()}
    required = {key: value for key, value in everything.items() if not prompt.variables[key].optional}
    for values in (everything, required):
        text = prompt.render(**values)
        assert "{{" not in text
        assert "\n\n" not in text


def test_every_partial_is_used() -> None:
    folder = data_folder("prompts")
    bodies = "".join((folder / f"{name}.prompt").read_text(encoding="utf-8") for name in list_prompts())
    for path in folder.glob("_*.prompt"):
        assert f"{{{{> {path.stem.removeprefix('_')}}}}}" in bodies, path.name
