"""What a language model adds to reasons: how often its words pass, why not, and what they cost.

    RECLLM_DATA=… scripts/bench/words.py uci-online-retail --model model/ --generator smollm2 --out results/words.json

Lists of ten for users that the model was not fitted on (their last 20 events), each reason worded at L0 to L3. At L3
the model is trusted with free text for the sake of the measurement, whatever it is.
"""

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import recllm
from recllm.data.trained import TrainedOn
from recllm.explain import Evidence, Explainer, complaints, word
from recllm.prompting.generator import Generator

N, HISTORY = 10, 20


def people(name: str, trained: TrainedOn, count: int) -> list[recllm.Interactions]:
    """The last events of users whom the model does not know."""
    events = recllm.Interactions.read(Path(os.environ["RECLLM_DATA"]) / name / "interactions.csv.gz")
    known = trained.includes(events.user_ids)
    strangers = [user for user, seen in zip(events.user_ids, known, strict=True) if not seen][:count]
    newest = events.of_users(strangers).frame.sort("timestamp").group_by("user_id", maintain_order=True).tail(HISTORY)
    everybody = recllm.Interactions.from_frame(newest)
    return [everybody.of_users([user]) for user in strangers]


def evidence_of(rec: recllm.Recommender, users: list[recllm.Interactions]) -> list[list[Evidence]]:
    lists = []
    for user in users:
        rows = rec.recommend(user, n=N, explain=True)
        saved = [{name: value for name, value in row.evidence.items() if name != "wording"} for row in rows]
        lists.append([Evidence.from_dict(one) for one in saved])
    return lists


def measure(explainer: Explainer, lists: list[list[Evidence]]) -> dict[str, Any]:
    milliseconds, wordings, checked = [], [], 0
    for evidence in lists:
        started = time.perf_counter()
        found = explainer.explain(evidence)
        milliseconds.append(1000 * (time.perf_counter() - started))
        wordings += found
        checked += sum(
            not complaints(one.text, about, domain=explainer.domain) for one, about in zip(found, evidence, strict=True)
        )
    methods = Counter(wording.method for wording in wordings)
    why = Counter(wording.fallback.split(":")[0] for wording in wordings if wording.fallback)
    shown = [wording.text for wording in wordings if wording.method == explainer.level][:8]
    return {
        "reasons": len(wordings),
        "methods": dict(methods),
        "verified when read again": checked,
        "why not": dict(why.most_common()),
        "ms per list, p50": round(sorted(milliseconds)[len(milliseconds) // 2]),
        "examples": shown,
    }


def raw_pass_rate(generator: Generator, explainer: Explainer, lists: list[list[Evidence]]) -> dict[str, Any]:
    """The first answer at L3, before any retry or fallback."""
    from recllm.explain.explainer import names_something

    asked = [one for evidence in lists for one in evidence if names_something(one)]
    texts = [explainer.draft(generator, one) for one in asked]
    wrong = [explainer.wrong_with(text, one) for text, one in zip(texts, asked, strict=True)]
    failed = [{"text": text[:300], "complaint": why[0]} for text, why in zip(texts, wrong, strict=True) if why]
    return {"asked": len(asked), "passed": sum(not why for why in wrong), "failed, examples": failed[:8]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--generator", default="smollm2")
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--free", type=int, default=3, help="users whose reasons are written freely, which is slow")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rec = recllm.Recommender.load(args.model)
    domain = rec.config.domain
    lists = evidence_of(rec, people(args.name, rec.trained_on, args.users))
    started = time.perf_counter()
    generator = recllm.open_generator(args.generator)
    result: dict[str, Any] = {"generator": generator.name, "ready after s": round(time.perf_counter() - started, 1)}
    for level in ("L0", "L2"):
        result[level] = measure(Explainer(domain=domain, level=level, detail="full"), lists)
    flat = [one for evidence in lists for one in evidence]
    result["L0 read again"] = sum(not complaints(word(one, domain, detail="full"), one, domain=domain) for one in flat)
    result["L1"] = measure(Explainer(generator, domain=domain, level="L1"), lists)
    generator.writes = True
    writer = Explainer(generator, domain=domain, level="L3")
    result["L3 raw"] = raw_pass_rate(generator, writer, lists[: args.free])
    result["L3"] = measure(writer, lists[: args.free])
    text = json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
