"""The prompt language: what it renders, what it refuses, and that values are inert."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.errors import PromptError
from recllm.prompting import Prompt, list_prompts, load_prompt, parse_prompt
from recllm.texts import clean_text

TYPES = {
    "x": "string",
    "y": "string?",
    "n": "number?",
    "flag": "boolean?",
    "xs": "list?",
}


def prompt(body: str, **variables: str) -> Prompt:
    """A prompt whose front matter declares `variables`, by default those of TYPES that occur in the body."""
    declared = variables or {name: kind for name, kind in TYPES.items() if _occurs(name, body)}
    schema = "".join(f"    {name}: {kind}\n" for name, kind in declared.items())
    return parse_prompt(f"---\ninput:\n  schema:\n{schema}---\n{body}", "test")


def _occurs(name: str, body: str) -> bool:
    words = body.replace("../", "").replace("{{", " ").replace("}}", " ").replace("#", " ").split()
    return name in words


@pytest.mark.parametrize(
    ("body", "values", "text"),
    [
        ("Hello {{x}}!", {"x": "you"}, "Hello you!"),
        ("{{ x }}{{y}}", {"x": "a"}, "a"),
        ("{{#if y}}yes {{y}}{{else}}no{{/if}}", {"y": "b"}, "yes b"),
        ("{{#if y}}yes{{else}}no{{/if}}", {}, "no"),
        ("{{#if y}}yes{{else}}no{{/if}}", {"y": " \n"}, "no"),
        ("{{#if xs}}yes{{else}}no{{/if}}", {"xs": ["", " "]}, "no"),
        ("{{#if n}}yes{{else}}no{{/if}}", {"n": 0}, "no"),
        ("{{#unless flag}}off{{/unless}}", {"flag": False}, "off"),
        ("{{#each xs}}{{this}}{{#unless @last}}, {{/unless}}{{/each}}", {"xs": ["a", "", "b"]}, "a, b"),
        ("{{#each xs}}{{#if @first}}<{{/if}}{{this}}{{else}}none{{/each}}", {"xs": ("a", "b")}, "<ab"),
        ("{{#each xs}}{{this}}{{else}}none{{/each}}", {"xs": []}, "none"),
        ("{{#each xs}}{{../x}}{{this}} {{/each}}", {"x": "-", "xs": ["a", "b"]}, "-a -b"),
        ("{{#each xs}}{{#each ../xs}}{{this}}{{/each}}|{{this}} {{/each}}", {"xs": ["a", "b"]}, "ab|a ab|b"),
        ("{{#ifEquals x y}}same{{else}}not{{/ifEquals}}", {"x": "a ", "y": "a"}, "same"),
        ("{{#unlessEquals x y}}not{{/unlessEquals}}", {"x": "a"}, "not"),
        ("{{n}}", {"n": 1995.0}, "1995"),
        ("{{n}}", {"n": 3}, "3"),
        ("{{flag}}", {"flag": True}, "true"),
        ("a{{! a note }}b", {}, "ab"),
        ('{"title": {{x}}}', {"x": "a"}, '{"title": a}'),
        ("a }} b", {}, "a }} b"),
        ("1\n  {{#if x}}\n2 {{x}}\n  {{/if}}\n3", {"x": "a"}, "1\n2 a\n3"),
        ("1\n{{! note }}\n\n2", {}, "1\n\n2"),
        ("1\r\n{{#if x}}\r\n2\r\n{{/if}}\r\n", {"x": "a"}, "1\n2"),
    ],
)
def test_renders(body: str, values: dict[str, object], text: str) -> None:
    assert prompt(body).render(**values) == text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{{z}}", "variable 'z', which 'input.schema' does not declare"),
        ("line\n{{#if x}}\nopen", r"line 7, has the block '\{\{#if x\}\}', which is never closed"),
        ("{{#if x}}{{/each}}", r"'\{\{/each\}\}' where '\{\{/if\}\}' should close"),
        ("{{#if x}}{{else}}{{else}}{{/if}}", r"'\{\{else\}\}' where"),
        ("{{/if}}", "without a block"),
        ("{{else}}", "without a block"),
        ("{{#with x}}{{/with}}", "unknown block '#with'; known: if, unless, each"),
        ("{{#}}", "unknown block"),
        ("{{#if}}{{/if}}", "'#if' with 0 variables; it takes 1"),
        ("{{#ifEquals x}}{{/ifEquals}}", "with 1 variables; it takes 2"),
        ("{{x", "a tag that is not closed"),
        ("{{x{y}}}", "a tag that is not closed"),
        ("{{{x}}}", "three braces"),
        ("{{}}", "the variable ''"),
        ("{{this}}", "'this' outside of '#each'"),
        ("{{#each xs}}{{/each}}{{@last}}", "'@last' outside"),
        ("{{#each xs}}{{#each this}}{{/each}}{{/each}}", "lists hold texts only"),
        ("a\nb\u202e", "line 6, has a character that cannot be seen"),
        ("half \ud800", "a character that cannot be seen, or half of one"),
        ("{{xs}}", "of type list where string or number or boolean is wanted"),
        ("{{#each x}}{{/each}}", "of type string where list is wanted"),
        ("{{#ifEquals x xs}}{{/ifEquals}}", "of type list"),
        ("{{> part}}", "no '_part.prompt'"),
        ("{{> ../part}}", "the partial '../part'; its name is"),
    ],
)
def test_refuses_a_wrong_body(body: str, message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        prompt(body)
    assert "'test'" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no front matter", "no front matter"),
        ("---\ninput:\n", "no front matter"),
        ("---\nmodel: gpt\n---\n", "line 2, has the unknown key 'model' in the front matter; known: description"),
        ("---\ninput:\n  default: {}\n---\n", "unknown key 'default' in 'input'; known: schema"),
        ("---\ninput: 3\n---\n", "has int as 'input'"),
        ("---\n- a\n---\n", "has list as the front matter"),
        ("---\ndescription: [a]\n---\n", "has list as 'description'"),
        ("---\na: [\n---\n", "not YAML"),
        ("---\na: !!python/object/apply:os.system [ls]\n---\n", "a tag"),
        ("---\ninput:\n  schema: [x]\n---\n", "has list as 'input.schema'"),
        ("---\ninput:\n  schema:\n    x: text\n---\n{{x}}", "declares 'x' as 'text'; the types are string"),
        ("---\ninput:\n  schema:\n    x: [string]\n---\n{{x}}", "declares 'x' as"),
        ("---\ninput:\n  schema:\n    X y: string\n---\n", "declares 'X y'"),
        ("---\ninput:\n  schema:\n    this: string\n---\n", "declares 'this'"),
        ("---\ninput:\n  schema:\n    x: string\n---\nno tag", "line 4, declares the variable 'x' and never uses it"),
        ("---\ndomain: a\ndomain: b\n---\n", "line 3, has the key 'domain' for the second time"),
        ("---\nmetadata: {a: 1, a: 2}\n---\n", "line 2, has the key 'a' for the second time"),
        ("---\ndescription: &x a\ndomain: *x\n---\n", "line 2, has an anchor, an alias"),
        ("---\nconfig:\n---\n", "line 2, has NoneType as 'config'"),
        ("---\nconfig: {temperature: 1}\n---\n", "unknown key 'temperature' in 'config'; known: max_tokens"),
        ("---\ndomain: a\nconfig:\n  max_tokens: 7\n---\n", "line 4, has 7 as 'config.max_tokens'; .* 8 or more"),
        ("---\nconfig: {max_tokens: true}\n---\n", "has True as 'config.max_tokens'"),
        ("---\nconfig: {max_tokens: 9.5}\n---\n", "has 9.5 as 'config.max_tokens'"),
        ("---\nmetadata: [a]\n---\n", "line 2, has list as 'metadata'"),
        ("---\nmetadata:\n---\n", "line 2, has NoneType as 'metadata'"),
        ("---\nmetadata:\n  made: 2026-01-01\n---\n", "line 3, has date at 'metadata.made'; metadata is plain data"),
        ("---\nmetadata: {a: [{b: 2026-01-01}]}\n---\n", "has date at 'metadata.a.0.b'"),
        ("---\nmetadata: {2026-01-01: a}\n---\n", "line 2, has the key 2026-01-01, which is no text"),
        ("---\ninput:\n  schema:\n    yes: string\n---\n", "line 4, has the key yes, which is no text; put it"),
        ("---\n{description: a, metadata: {}}\n---\n", "'metadata' within braces; write one key a line"),
        ("---\ndescription: a\ndomain: 2026-99-01\n---\n", "not YAML: month must be"),
    ],
)
def test_refuses_wrong_front_matter(source: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        parse_prompt(source, "test")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs the variable 'x'"),
        ({"x": None}, "needs the variable 'x'"),
        ({"x": "a", "z": 1}, "unknown variable 'z'; its variables are: x, y, n, flag, xs"),
        ({"x": 3}, "got int for 'x'; it wants a string"),
        ({"x": "a", "n": True}, "got bool for 'n'; it wants a number"),
        ({"x": "a", "n": "3"}, "got str for 'n'"),
        ({"x": "a", "flag": 1}, "got int for 'flag'; it wants a boolean"),
        ({"x": "a", "xs": "abc"}, "got str for 'xs'; it wants a list of strings"),
        ({"x": "a", "xs": ["a", 1]}, "got list for 'xs'"),
        ({"x": "a", "xs": {"a": 1}}, "got dict for 'xs'"),
    ],
)
def test_refuses_wrong_values(values: dict[str, object], message: str) -> None:
    made = prompt("{{x}}{{y}}{{n}}{{flag}}{{#each xs}}{{/each}}", **TYPES)
    with pytest.raises(PromptError, match=message):
        made.render(**values)


@given(st.text())
def test_a_value_is_printed_and_never_read(value: str) -> None:
    assert prompt("[{{x}}]").render(x=value) == f"[{clean_text(value)}]"


@given(st.text("{}#/>!x ").map(clean_text), st.text("{}#/>!x ").map(clean_text))
def test_tags_in_values_are_verbatim(first: str, second: str) -> None:
    made = prompt("<{{x}}|{{#each xs}}{{this}}{{/each}}>")
    assert made.render(x=first, xs=[second]) == f"<{first}|{second}>"
    assert made.render(x="{{x}}", xs=["{{#if x}}"]) == "<{{x}}|{{#if x}}>"


@given(st.text())
def test_any_body_is_compiled_or_refused(body: str) -> None:
    try:
        made = prompt(body, x="string")
    except PromptError:
        return
    assert isinstance(made.render(x="a"), str)


@given(
    st.lists(
        st.sampled_from(
            ["{{x}}", "{{#if x}}", "{{else}}", "{{/if}}", "{{#each xs}}", "{{this}}", "{{/each}}", "\n", "a", "{"]
        )
    )
)
def test_any_sequence_of_tags_is_compiled_or_refused(parts: list[str]) -> None:
    try:
        made = prompt("".join(parts) + "{{x}}{{#if xs}}{{/if}}", x="string", xs="list")
    except PromptError:
        return
    made.render(x="a", xs=["b"])


def test_what_an_encoder_reads_and_where_a_prompt_comes_from() -> None:
    made = parse_prompt("---\nconfig:\n  max_tokens: 64\nmetadata:\n  gain: [.1, null]\n---\nword")
    assert (made.max_tokens, made.metadata) == (64, {"gain": [0.1, None]})
    plain = parse_prompt("---\r\nconfig: {}\r\n---\r\nword")
    assert (plain.max_tokens, plain.metadata, plain.source) == (None, {}, "---\nconfig: {}\n---\nword")


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize(
    "block",
    [
        "metadata: {}\n",
        "metadata: {a: 1,\n  b: 2}\n",
        '"metadata":\n  parent: x@1\n  why: |\n    # not a comment\n\n    more\n',
        "metadata:\n  gain: 1\n  # of three seeds\n  arms:\n  - a\n",
    ],
)
def test_metadata_is_no_part_of_a_version(place: int, block: str) -> None:
    lines = ["# why\n", "description: d\n", "\n# a comment\ndomain: neutral\n"]
    without = parse_prompt(f"---\n{''.join(lines)}---\nmetadata: {{}}")
    lines.insert(place + 1, block)
    made = parse_prompt(f"---\n{''.join(lines)}---\nmetadata: {{}}")
    assert made.digest == without.digest
    assert block in made.source
    lines.insert(place + 1, "config: {max_tokens: 8}\n")
    assert parse_prompt(f"---\n{''.join(lines)}---\nmetadata: {{}}").digest != without.digest


def test_the_version_of_a_prompt_without_metadata_is_that_of_its_text() -> None:
    source = "---\ndescription: d\n---\nword"
    assert parse_prompt(source).digest == hashlib.sha256(source.encode()).hexdigest()


def test_an_error_names_file_line_and_key(tmp_path: Path) -> None:
    write(tmp_path, "a", "---\ndomain: d\ninput:\n  schema:\n    x: text\n---\n{{x}}")
    with pytest.raises(PromptError) as caught:
        load_prompt("a", tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'a.prompt'}: prompt 'a', line 5, declares 'x' as 'text'")
    assert (caught.value.line, caught.value.key, caught.value.partial) == (5, "input.schema.x", None)
    write(tmp_path, "a", "---\n---\n{{> line}}")
    write(tmp_path, "_line", "\n{{y}}")
    with pytest.raises(PromptError) as caught:
        load_prompt("a", tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / '_line.prompt'}: partial 'line' of prompt 'a', line 2, has")
    assert (caught.value.line, caught.value.partial) == (2, "line")


PIECES = st.sampled_from(
    [
        *("{{", "}}", "{{x}}", "{{#if y}}", "{{/if}}", "{{else}}", "{{#each xs}}", "{{this}}", "{{> a}}", "../"),
        *("~", "\\", "\t", ",", "(array)", "---\n", "\n", "  ", "- ", ": ", "?"),
        *("&a ", "*a", "!!x ", "'", '"', "|", "[", "]", "#", "%"),
        *("\x00", "\ud800", "\x85", "\u2028", "\r", "\u202e", "1e999", "2026-01-01", "true", "config: ", "metadata: "),
    ]
)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 9), PIECES | st.text(max_size=3)), max_size=5))
def test_a_damaged_file_is_compiled_or_refused_with_its_line(damages: list[tuple[int, int, str]]) -> None:
    source = "---\ndescription: d\nconfig:\n  max_tokens: 9\nmetadata:\n  a: [1, {b: c}]\ninput:\n  schema:\n"
    source += "    x: string\n    y?: string, why\n    xs: list?\n---\n"
    source += "{{x}}{{#if y}}a{{/if}}\n{{#each xs}}{{../x}}{{/each}}\n"
    for place, taken, put in damages:
        source = source[:place] + put + source[place + taken :]
    refused: PromptError | None = None
    try:
        made = parse_prompt(source)
        assert parse_prompt(made.source).digest == made.digest
    except PromptError as error:
        refused = error
    if refused is not None:
        assert refused.line is not None
        assert 1 <= refused.line <= source.count("\n") + 1
        assert f"line {refused.line}" in str(refused)


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.prompt").write_text(text, encoding="utf-8")


def test_partials(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a.b",
        "---\ninput:\n  schema:\n    xs: list\n---\n{{#each xs}}\n{{> line}}\n{{/each}}\nend {{> line_end}}",
    )
    write(tmp_path, "_line", "- {{this}}\n")
    write(tmp_path, "_line_end", "of {{#each xs}}{{this}}{{/each}}")
    made = load_prompt("a.b", tmp_path)
    assert made.render(xs=["1", "2"]) == "- 1\n- 2\nend of 12"
    assert list_prompts(tmp_path) == ("a.b",)
    write(tmp_path, "_line", "+ {{this}}\n")
    changed = load_prompt("a.b", tmp_path)
    assert changed.render(xs=["1"]) == "+ 1\nend of 1"
    assert changed.digest != made.digest
    write(tmp_path, "_line", "{{> line}}")
    with pytest.raises(
        PromptError, match=r"partial 'line' of prompt 'a.b', line 1, has the partial 'line', which includes itself"
    ):
        load_prompt("a.b", tmp_path)
    write(tmp_path, "_line", "{{other}}")
    with pytest.raises(PromptError, match=r"partial 'line' of prompt 'a.b', line 1"):
        load_prompt("a.b", tmp_path)


def test_reference_names_the_version(tmp_path: Path) -> None:
    write(tmp_path, "a", "---\ndescription: d\ndomain: neutral\n---\ntext")
    made = load_prompt("a", tmp_path)
    assert (made.name, made.description, made.domain, made.render()) == ("a", "d", "neutral", "text")
    assert made.reference == f"a@{made.digest[:8]}"
    assert load_prompt("a", tmp_path).digest == made.digest
    (tmp_path / "a.prompt").write_bytes(b"---\r\ndescription: d\r\ndomain: neutral\r\n---\r\ntext")
    assert load_prompt("a", tmp_path).digest == made.digest


@pytest.mark.parametrize("name", ["missing", "../a", "/etc/passwd", "_a", "", "a\n", "A"])
def test_an_unknown_prompt_lists_the_known(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a", "---\n---\ntext")
    with pytest.raises(PromptError, match=r"there is no prompt .* it has: a$"):
        load_prompt(name, tmp_path)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.prompt").write_bytes(b"---\n---\n\xff")
    with pytest.raises(PromptError, match="not UTF-8"):
        load_prompt("a", tmp_path)
