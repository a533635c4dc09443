"""Prompts for other tools mean there what they mean here."""

from pathlib import Path

import jinja2
import pytest
import yaml

from recllm.errors import PromptError
from recllm.prompting import list_prompts, load_prompt, parse_prompt
from recllm.prompting.cases import load_cases
from recllm.prompting.export import export_prompts, nunjucks
from recllm.prompting.front_matter import split_prompt

THEIRS = ("description", "input", "metadata", "recllm.domain", "recllm.max_tokens", "recllm.version")


def test_dotprompt_gets_the_same_prompts_in_its_own_words(tmp_path: Path) -> None:
    files = export_prompts("dotprompt", tmp_path)
    assert {file.name for file in files} >= {f"{name}.prompt" for name in list_prompts()} | {"_not_advice.prompt"}
    for name in list_prompts():
        ours, source = load_prompt(name), (tmp_path / f"{name}.prompt").read_text(encoding="utf-8")
        meta, body, _ = split_prompt(source, name, THEIRS)
        assert body == split_prompt(ours.source, name)[1]
        assert meta["recllm.version"] == ours.digest[:8]
        assert meta.get("recllm.domain") == ours.domain
        kinds = meta.get("input", {}).get("schema", {}).values()
        assert not any(kind.endswith("?") or kind == "list" for kind in kinds)
        front = yaml.safe_dump({"input": meta["input"]} if "input" in meta else {}, sort_keys=False)
        again = parse_prompt(f"---\n{front}---\n{body}", name, tmp_path)
        assert again.variables == ours.variables
        assert again.nodes == ours.nodes


def test_what_only_we_know_has_our_name_before_it(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    schema = "input:\n  schema:\n    type: string\n    tags: list?\n    size?: number, in cm\n"
    body = "{{type}}{{size}}{{#each tags}}{{this}}{{/each}}"
    source = f"---\nconfig: {{max_tokens: 64}}\nmetadata: {{parent: a@1}}\n{schema}---\n{body}"
    (own / "a.prompt").write_text(source)
    (file,) = export_prompts("dotprompt", tmp_path / "out", own)
    meta = yaml.safe_load(file.read_text().split("---\n")[1])
    assert meta["recllm.max_tokens"] == 64
    assert "config" not in meta
    assert meta["metadata"] == {"parent": "a@1"}
    assert meta["input"]["schema"] == {"type": "string, type", "tags?(array)": "string", "size?": "number, in cm"}


def test_promptfoo_gets_prompts_and_cases(tmp_path: Path) -> None:
    (file,) = export_prompts("promptfoo", tmp_path)
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert file.name == "promptfooconfig.yaml"
    assert config["providers"] == ["echo"]
    assert config["defaultTest"]["options"] == {"disableVarExpansion": True, "transform": "output.trim()"}
    raw = {prompt["label"]: prompt["raw"] for prompt in config["prompts"]}
    assert set(raw) == set(list_prompts())
    assert len(config["tests"]) > 60
    for test in config["tests"]:
        (name,) = test["prompts"]
        text = _rendered(raw[name], test["vars"]).strip()
        assert text == load_prompt(name).render(**test["vars"])
        assert test["assert"]
        for asked in test["assert"]:
            value = asked["value"]
            holds = {"equals": text == value, "icontains": value.lower() in text.lower()}
            holds["not-icontains"] = not holds["icontains"]
            assert holds[asked["type"]], (test["description"], asked)


def _rendered(raw: str, values: dict[str, object]) -> str:
    """Nunjucks is Jinja but for these."""
    for theirs, jinjas in ((" === ", " == "), (" !== ", " != "), (".length)", "|length)")):
        raw = raw.replace(theirs, jinjas)
    return jinja2.Environment(autoescape=False, keep_trailing_newline=True).from_string(raw).render(values)


def test_values_that_promptfoo_would_read_are_left_out(tmp_path: Path) -> None:
    (file,) = export_prompts("promptfoo", tmp_path)
    described = [test["description"] for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]]
    assert "item.neutral: a title that looks like a tag" not in described
    assert any(case.name == "a title that looks like a tag" for case in load_cases("item.neutral"))


@pytest.mark.parametrize(
    ("body", "values", "text"),
    [
        ("{{#each xs}}{{@index}}{{this}}{{#if @first}}!{{/if}}{{#unless @last}},{{/unless}}{{/each}}",
         {"xs": ["a", "b"]}, "0a!,1b"),
        ("{{#each xs}}{{#each ../ys}}{{this}}{{/each}}{{this}}{{/each}}", {"xs": ["a", "b"], "ys": ["c"]}, "cacb"),
        ("{{#each xs}}a{{else}}none{{/each}}", {"xs": []}, "none"),
        ("{{#if xs}}a{{else}}b{{/if}}{{#unless xs}}c{{/unless}}", {"xs": []}, "bc"),
        ("{{#ifEquals a b}}1{{else}}2{{/ifEquals}}{{#unlessEquals a b}}3{{/unlessEquals}}", {"a": "x", "b": "y"}, "23"),
        ("{% if %} {# no #} {{a}}", {"a": "x"}, "{% if %} {# no #} x"),
    ],
)  # fmt: skip
def test_nunjucks(body: str, values: dict[str, object], text: str) -> None:
    kinds = {"xs": "list?", "ys": "list?", "a": "string?", "b": "string?"}
    schema = "".join(f"    {name}: {kind}\n" for name, kind in kinds.items())
    uses = "".join(f"{{{{#if {name}}}}}{{{{/if}}}}" for name in kinds)
    made = parse_prompt(f"---\ninput:\n  schema:\n{schema}---\n{body}{uses}")
    assert made.render(**values) == text
    assert _rendered(nunjucks(made), values) == text


def test_nothing_of_ones_own_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.prompt").write_text("---\n---\nword")
    with pytest.raises(PromptError, match="holds the prompts themselves"):
        export_prompts("dotprompt", tmp_path, tmp_path)
    with pytest.raises(PromptError, match="'word'; for: dotprompt, promptfoo"):
        export_prompts("word", tmp_path / "out", tmp_path)
