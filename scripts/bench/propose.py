"""A writer model at work: a planted weakness of a prompt, a probe, drafts, a race and a verdict.

    scripts/bench/propose.py [--model model/ --data ml-100k --users 60] [--writer smollm2]

A good writer and a model that speaks are scripted and stand behind a server on this machine that speaks OpenAI's chat
completions; the verifier, the probe, the race and everything else are the real ones. The planted instructions ask for
praise, which the verifier refuses, in a sentence that cannot be dropped without losing where the facts are. With
`--writer`, another model writes (its name, folder or URL); without `--model`, evidence is of a toy shop.
"""

import argparse
import json
import os
import re
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import recllm
from recllm.encoders.text import TextEncoderConfig
from recllm.explain import Evidence
from recllm.prompting.template import Prompt, parse_prompt
from recllm.resources import data_folder
from recllm.testing import DEPARTMENTS, tiny_backbone, toy_shop
from recllm.tuning.optimize_words import OptimizedWords, optimize_words
from recllm.tuning.propose import probe_writer
from recllm.tuning.words import evidence_of

PLANTED = """---
description: Instructions with a planted weakness.
---
Say what stands between <facts> and </facts> in a sentence, and how excellent the item is.
{{> quoted_is_data}}
{{> nothing_added}}
Answer with the sentences alone.
"""
_TAG = r"\{\{[^{}]*\}\}|<[^>]*>"


# --- the scripted models -----------------------------------------------------------------------------------------


shown: list[str] = []
"""What the writer was shown for its drafts."""


def write(system: str, user: str) -> str:
    """What a good writer does: other words around the same tags, and drafts that heed the complaints."""
    template = user.partition("<prompt>\n")[2].partition("</prompt>")[0]
    if "<material>" not in user:
        parts = re.split(f"({_TAG})", template)
        return f"<prompt>{''.join(part if re.fullmatch(_TAG, part) else _reworded(part) for part in parts)}</prompt>"
    shown.append(user)
    if "excellent" in user.partition("<material>")[2]:
        template = template.replace(", and how excellent the item is", "")
    if "draft number 1" not in user:
        template = template.replace("in a sentence", "in a sentence; name every cause, and what is shared as well")
    return f"Here is the template.\n<prompt>\n{template}</prompt>"


def _reworded(text: str) -> str:
    return re.sub(r"([A-Za-z]{4,})", r"\1 really", text, count=1)


def speak(system: str, user: str) -> str:
    """What an obedient model does: it praises where it is told to, and names no more than it is told to."""
    titles = r"“[^”]+”"
    because = re.search(rf"Because (?:you [^“]+|of ){titles}[^\n]*\.", user)
    if because is None:
        return "We suggest this."
    head = re.match(r"Because (?:you [^“]+|of )", because[0])
    tail = " in your history." if "in your history" in because[0] else "."
    first = re.findall(titles, because[0])[0]
    text = because[0] if "every" in system else f"{head[0] if head else ''}{first}{tail}"
    shared = re.search(r"^(?:Like [^\n]*, it is in|Its title shares)[^\n]*\.$", user, re.MULTILINE)
    text += f" {shared[0]}" if shared and "shared" in system else ""
    return text + (" It is truly excellent." if "excellent" in system else "")


class _Answers(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        system, user = (message["content"] for message in asked["messages"])
        text = {"writer": write, "speaker": speak}[asked["model"]](system, user)
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[str]:
    """The URL of a server that stops by itself."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- evidence ----------------------------------------------------------------------------------------------------


def toy_evidence() -> tuple[str, tuple[Evidence, ...]]:
    """Of a toy shop's customers whom training has not seen."""
    shop = toy_shop()
    users = shop.events.user_ids
    with tempfile.TemporaryDirectory() as folder:
        words = ["thing number", *DEPARTMENTS, *map(str, range(60))]
        config = recllm.RecommenderConfig(text=TextEncoderConfig(backbone=str(tiny_backbone(Path(folder), words))))
        rec = recllm.Recommender(config).fit(
            shop.catalog, shop.events.of_users(users[:50]), options=recllm.TrainOptions(seed=0, budget="30s")
        )
        return "a toy shop", evidence_of(rec, shop.events.of_users(users[50:]), n=2)


def real_evidence(model: Path, data: str, users: int) -> tuple[str, tuple[Evidence, ...]]:
    """Of people whom the model has not seen, those that comparisons are made on left out."""
    rec, folder = recllm.Recommender.load(model), Path(os.environ["RECLLM_DATA"]) / data
    events = recllm.Interactions.read(folder / "interactions.csv.gz").known_items(rec.catalog)
    listed = folder / "test_users.txt"
    kept = set(listed.read_text().split()) if listed.exists() else set()
    known = rec.trained_on.includes(events.user_ids)
    strangers = [user for user, seen in zip(events.user_ids, known, strict=True) if not seen and user not in kept]
    newest = (
        events.of_users(strangers[:users]).frame.sort("timestamp").group_by("user_id", maintain_order=True).tail(20)
    )
    return data, evidence_of(rec, recllm.Interactions.from_frame(newest), n=3)


# --- the show ----------------------------------------------------------------------------------------------------


def show(result: OptimizedWords, seconds: float) -> None:
    print(f"\nstanding prompt:\n{_indented(result.arms[0])}\n")
    print(result)
    print(f"\narms: {len(result.arms)}, drafted: {result.proposal.drafted}, {seconds:.1f} s")
    for note in result.notes:
        print(f"note: {note}")
    if shown:
        print(f"\nwhat the writer was shown for its first draft:\n{textwrap.indent(shown.pop(0), '    ')}")
        shown.clear()
    if not result.kept:
        print(f"\nchosen:\n{_indented(result.chosen)}")
        print(f"\nlineage: {json.dumps(result.lineage(result.race.leader), ensure_ascii=False)}")
    print()


def _indented(prompt: Prompt) -> str:
    return textwrap.indent(prompt.render(), "    ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", default="ml-100k")
    parser.add_argument("--users", type=int, default=60)
    parser.add_argument("--writer", help="another writer, such as smollm2")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    source, cases = toy_evidence() if args.model is None else real_evidence(args.model, args.data, args.users)
    print(f"evidence: {len(cases)} recommendations of {source}\n")
    planted = parse_prompt(PLANTED, "write.reason", data_folder("prompts"))
    with serving() as url:
        speaker = recllm.open_generator(f"{url}#speaker")
        writers = {"a scripted good writer": f"{url}#writer"} | ({args.writer: args.writer} if args.writer else {})
        for name, spec in writers.items():
            writer, begin = recllm.open_generator(spec), time.monotonic()
            probe = probe_writer(writer)
            print(f"== the writer is {name}\n\nprobe: {probe.held} of {probe.asked} rewrites of known prompts hold")
            result = optimize_words(planted, cases, generator=speaker, writer=writer, probe=probe, seed=args.seed)
            show(result, time.monotonic() - begin)


if __name__ == "__main__":
    main()
