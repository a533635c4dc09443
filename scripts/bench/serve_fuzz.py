"""Schemathesis over a served catalog: the edges of every schema, then random cases, every check; 0 answers of 5xx.

    python scripts/bench/serve_fuzz.py            # 5,000 cases and more, against the engine
    python scripts/bench/serve_fuzz.py --engine fake --examples 5

Writes scripts/bench/results/serve_fuzz.json.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemathesis

from recllm.recommender import Recommender
from recllm.serve.live.live import Live
from recllm.serve.settings import Settings
from recllm.serve.web.app import create_app
from recllm.testing import toy_shop
from tests.serve.fake import FakeLive
from tests.serve.web.fuzz import fuzz

RESULTS = Path(__file__).parent / "results" / "serve_fuzz.json"


@contextlib.contextmanager
def engine(kind: str) -> Iterator[Any]:
    """What answers: the engine over a toy shop's catalog and the default encoder, or the one of tests, without any."""
    if kind == "fake":
        yield FakeLive()
        return
    with tempfile.TemporaryDirectory() as folder:
        recommender = Recommender.from_catalog(toy_shop().catalog)
        live = Live.open(Path(folder) / "data", recommender, Settings(patience=60.0))
        try:
            yield live
        finally:
            live.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("live", "fake"), default="live")
    parser.add_argument("--examples", type=int, default=160, help="random cases of each kind for each operation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--paths", default=".*", help="a pattern of those that are asked")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # what lists leave out is told in their notes
    with engine(options.engine) as live:
        outcome = fuzz(create_app(live), options.examples, paths=options.paths, seed=options.seed)
    found = {
        "command": " ".join(["scripts/bench/serve_fuzz.py", *sys.argv[1:]]),
        "schemathesis": schemathesis.__version__,
        "engine": options.engine,
        "cases": outcome.cases,
        "seconds": round(outcome.seconds, 1),
        "statuses": {str(status): count for status, count in sorted(outcome.statuses.items())},
        "answers_5xx": sum(count for status, count in outcome.statuses.items() if status >= 500),
        "checks": dict(sorted(outcome.checks.items())),
        "refused_for_what_a_schema_cannot_know": outcome.excused,
        "wrong": len(outcome.wrong),
        "first_wrong": outcome.wrong[:20],
        "errors": outcome.errors,
    }
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in found.items() if name not in ("checks", "first_wrong")}, indent=1))
    for one in outcome.wrong[:20]:
        print(one["operation"], one["check"], one["said"], one["case"], one["answer"], sep="\n   ")
    sys.exit(1 if outcome.wrong or outcome.errors or found["answers_5xx"] else 0)


if __name__ == "__main__":
    main()
