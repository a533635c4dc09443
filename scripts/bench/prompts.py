"""What prompts cost, and whether another reader of dotprompt reads them alike.

    python scripts/bench/prompts.py [--out scripts/bench/results/prompts.json]
    python scripts/bench/prompts.py --write rows.json     # then, where `pip install dotpromptz` was done (elsewhere):
    python scripts/bench/prompts.py --read rows.json
    recllm prompts export folder/ --to promptfoo          # then, with `npm install handlebars nunjucks js-yaml`:
    NODE_PATH=node_modules node scripts/bench/prompts.js rows.json folder/promptfooconfig.yaml

Rows are the shipped prompts with their frozen cases, and the conformance tests; both as `recllm prompts export` writes
them.
"""

import argparse
import asyncio
import inspect
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--read", type=Path)
    asked = parser.parse_args()
    if asked.read:
        asyncio.run(read(json.loads(asked.read.read_text(encoding="utf-8"))))
    elif asked.write:
        asked.write.write_text(json.dumps(rows()), encoding="utf-8")
    else:
        figures = costs()
        print(json.dumps(figures, indent=1))
        if asked.out:
            asked.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def costs() -> dict[str, dict[str, float]]:
    """Milliseconds per prompt: to load it, and to render it with all of its values; the median of nine rounds."""
    from recllm.prompting import list_prompts, load_prompt

    words = {"string": "A lamp of brass, with a shade " * 4, "number": 3.5, "boolean": True, "list": ["light", "home"]}
    figures = {}
    for name in list_prompts():
        prompt = load_prompt(name)
        values: dict[str, Any] = {one.name: words[one.type] for one in prompt.variables.values()}
        figures[name] = {
            "load_ms": median_ms(lambda name=name: load_prompt(name), 5),
            "render_ms": median_ms(lambda prompt=prompt, values=values: prompt.render(**values), 300),
        }
    return figures


def median_ms(call: Any, times: int) -> float:
    rounds = []
    for _ in range(9):
        begin = time.perf_counter()
        for _ in range(times):
            call()
        rounds.append(1e3 * (time.perf_counter() - begin) / times)
    return round(sorted(rounds)[4], 4)


def rows() -> list[dict[str, Any]]:
    """A prompt file in dotprompt's words, its partials, values, and what we make of them."""
    sys.path.insert(0, str(ROOT))
    from recllm.prompting import list_prompts, load_prompt
    from recllm.prompting.cases import load_cases
    from recllm.prompting.export import export_prompts
    from tests.prompting import test_conformance

    found = []
    with tempfile.TemporaryDirectory() as name:
        out, own = Path(name) / "out", Path(name) / "own"
        files = {file.name: file.read_text(encoding="utf-8") for file in export_prompts("dotprompt", out)}
        partials = {file[1:-7]: text for file, text in files.items() if file.startswith("_")}
        for prompt in map(load_prompt, list_prompts()):
            for case in load_cases(prompt.name):
                row = {"source": files[f"{prompt.name}.prompt"], "partials": partials, "text": case.render(prompt)}
                found.append({"id": f"{prompt.name}: {case.name}", "values": case.values_for(prompt), **row})
        own.mkdir()
        (mark,) = test_conformance.test_means_what_it_means_to_others.pytestmark
        for body, values, text in mark.args[1]:
            (own / "x.prompt").write_text(test_conformance.prompt(body).source, encoding="utf-8")
            (file,) = export_prompts("dotprompt", out, own)
            source = file.read_text(encoding="utf-8")
            found.append({"id": body, "source": source, "partials": {}, "values": values, "text": text})
    return found


async def read(wanted: list[dict[str, Any]]) -> None:
    """Say where dotpromptz makes something else of the rows, white space at the ends apart."""
    from dotpromptz import DataArgument, Dotprompt

    differ = 0
    for row in wanted:
        made = Dotprompt(partials=row["partials"]).render(row["source"], DataArgument(input=row["values"]))
        if inspect.isawaitable(made):
            made = await made
        text = "".join(part.text for message in made.messages for part in message.content).strip()
        if text != row["text"]:
            differ += 1
            print(f"{row['id']}\n  theirs {text!r}\n  ours   {row['text']!r}")
    print(f"{len(wanted)} texts, {differ} differ")


if __name__ == "__main__":
    main()
