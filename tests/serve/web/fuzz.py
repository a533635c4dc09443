"""Schemathesis over the app's own description: whatever the description allows or forbids is sent, and answers checked.

Two answers are right although the checks do not know it: 413 to what is too large for any schema, and 422 to what a
description cannot know: a time that lies ahead of now, a wish for words that no item has, a column that is not there,
or that is not like it was before.
"""

import contextlib
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events as engine_events
from schemathesis.engine import from_schema

REJECTED = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "429"]
UNSEEN = ("the time ", "no item has ", "filter on column ", "the items cannot be put into one table ")
"""How the sentences about these begin."""


@dataclass
class Outcome:
    """What was sent, what came back, and what was wrong with it."""

    cases: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    excused: int = 0
    wrong: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def fuzz(app: FastAPI, examples: int, *, paths: str = ".*", seed: int = 0) -> Outcome:
    """Send the edges of every schema, and then random cases.

    Args:
        app: To be asked in this process.
        examples: Random cases of each kind for each operation; these take their time to be thought of.
        paths: A pattern of those that are asked.
        seed: Of the random cases.
    """
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": "http://127.0.0.1",
            "continue-on-failure": True,
            "generation": {"max-examples": max(1, examples), "database": "none"},
            "phases": {"stateful": {"enabled": False}, "fuzzing": {"enabled": examples > 0}},
            "checks": {"negative_data_rejection": {"expected-statuses": REJECTED}},
        }
    )
    schema = schemathesis.openapi.from_dict(app.openapi(), config=config).include(path_regex=paths)

    async def answering(scope: Any, receive: Any, send: Any) -> None:
        """What fails has been answered with 500 before it is raised once more, for a server's log."""
        with contextlib.suppress(Exception):
            await app(scope, receive, send)

    schema.app = answering
    outcome, began = Outcome(), time.perf_counter()
    for event in from_schema(schema).execute():
        if isinstance(event, engine_events.ScenarioFinished):
            _note(outcome, event.recorder)
        elif isinstance(event, engine_events.NonFatalError | engine_events.FatalError):
            outcome.errors.append(str(getattr(event, "value", event))[:500])
    outcome.seconds = time.perf_counter() - began
    return outcome


def _note(outcome: Outcome, recorder: Any) -> None:
    outcome.cases += len(recorder.cases)
    answers = {case: found.response for case, found in recorder.interactions.items() if found.response is not None}
    outcome.statuses.update(answer.status_code for answer in answers.values())
    for case, checks in recorder.checks.items():
        for check in checks:
            outcome.checks[check.name] += 1
            if check.failure_info is None:
                continue
            if check.name == "positive_data_acceptance" and _is_of_the_moment(answers[case]):
                outcome.excused += 1
                continue
            outcome.wrong.append(
                {
                    "operation": recorder.label,
                    "check": check.name,
                    "said": check.failure_info.failure.message[:300],
                    "case": recorder.cases[case].value.as_curl_command()[:600],
                    "answer": answers[case].content[:300].decode("utf-8", "replace") if case in answers else None,
                }
            )


def _is_of_the_moment(answer: Any) -> bool:
    message = json.loads(answer.content)["error"]["message"] if answer.status_code == 422 else ""
    return message.startswith(UNSEEN)
