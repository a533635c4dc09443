"""The engine without a model, whose reasons have the fields of real ones; and a browser."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

from recllm.errors import RecllmError
from recllm.explain.evidence import Cause, Counterfactual, Evidence
from recllm.serve.answers import Answer, Ask
from recllm.serve.page.routes import router
from recllm.serve.state.records import Event, Stored
from recllm.serve.web.failing import on_error
from tests.serve.fake import FakeLive
from tests.serve.page.figures import FULL, figures


class ShopLive(FakeLive):
    shown: SimpleNamespace = figures()
    first = "trend"
    """The channel of what somebody sees of whom nothing is known."""
    made = "# A model\n\n- items: 12\n"

    def figures(self) -> SimpleNamespace:
        self._called("figures")
        return self.shown

    def card(self) -> str:
        return self.made

    def _row(self, item_id: str, have: Sequence[str]) -> dict[str, Any]:
        cited = [one for one in have if one in self.records and self._department(one) == self._department(item_id)]
        evidence = Evidence(
            user_id="visitor",
            item_id=item_id,
            title=self._title(item_id),
            reason_code="history" if cited else "popular",
            causes=tuple(Cause(one, self._title(one), 1.0, 1 / len(cited)) for one in cited),
            channel="text",
            confidence=0.5,
            popularity_rank=0.9,
            popular=True,
            n_events=len(have),
            counterfactual=Counterfactual(tuple(cited), tuple(map(self._title, cited)), "bear", "Brown bear")
            if cited
            else None,
            place=2,
            place_without_history=1_234,
        )
        return {**super()._row(item_id, cited), "reason_code": evidence.reason_code, "evidence": evidence.to_dict()}

    async def session(self, events: Sequence[Mapping[str, Any]], ask: Ask, *, keep: bool = True) -> Answer:
        answer = await super().session(events, ask)
        is_known = {event["item_id"] for event in events} - {*ask.without}
        lines = answer.items if is_known else [dataclasses.replace(line, channel=self.first) for line in answer.items]
        return dataclasses.replace(answer, items=tuple(lines))

    def be_used(self) -> None:
        self.shown = figures(**FULL)

    def rename(self, item_id: str, title: str) -> None:
        record = self.records[item_id]
        self.records[item_id] = dataclasses.replace(record, fields={**record.fields, "title": title})

    def remember(self, user_id: str, *item_ids: str) -> None:
        events = [Event(f"{user_id} {item_id}", user_id, item_id, 1_700_000_000.0) for item_id in item_ids]
        number = self.as_of_event
        self.events += [Stored(number + place, event) for place, event in enumerate(events, 1)]


def browser_of(live: FakeLive) -> TestClient:
    """A browser; the application is pages and what makes pages of errors."""
    app = FastAPI(exception_handlers=dict.fromkeys((RecllmError, HTTPException, Exception), on_error))
    app.include_router(router(live))
    return TestClient(app, "http://127.0.0.1", headers={"accept": "text/html"}, raise_server_exceptions=False)
