"""What OpenAPI shows: one shop, told in bodies and answers."""

from typing import Any

_LINE = {
    "item_id": "candle",
    "rank": 1,
    "score": 1.84,
    "title": "Pillar candle",
    "channel": "text",
    "propensity": 1.0,
    "reason": None,
    "reason_code": None,
    "evidence": None,
}
_EXPLAINED = _LINE | {
    "reason": "Because you have Warm lamp.",
    "reason_code": "history",
    "evidence": {"cited": [{"item_id": "lamp", "contribution": 0.8}]},
}
ANSWER: dict[str, Any] = {
    "recommendation_id": "0f8fad5b",
    "user_id": "mia",
    "version": "2026-11-27-1",
    "as_of_event": 42,
    "policy": "ranking",
    "at": 1795743894.4,
    "items": [_EXPLAINED],
    "notes": [],
}
SESSION_ANSWER = ANSWER | {"user_id": None, "items": [_LINE]}
PAGE: dict[str, Any] = {
    "recommendation_id": "7c9e6679",
    "user_id": "mia",
    "version": "2026-11-27-1",
    "as_of_event": 42,
    "at": 1795743894.4,
    "rows": [{"title": "For you", "kind": "for_you", "about": None, "items": [_LINE]}],
}
SHIFTS: dict[str, Any] = {
    "version": "2026-11-27-1",
    "as_of_event": 42,
    "items": [{"item_id": "hose", "title": "Garden hose", "rank_before": None, "rank_after": 1}],
}
REASON: dict[str, Any] = {
    "recommendation_id": "0f8fad5b",
    "item_id": "candle",
    "as_of_event": 42,
    "version": "2026-11-27-1",
    "same_state": True,
    "row": {"explanation": "Because you have Warm lamp.", "reason_code": "history", "method": "L0", "verified": True},
}
FOUND: dict[str, Any] = {"version": "2026-11-27-1", "items": [_LINE]}
TAKEN = {"accepted": 1, "known": 0, "replaced": 0, "waiting": 0, "as_of_event": 43}

EVENTS: dict[str, Any] = {
    "recllm": {
        "summary": "recllm's own shape",
        "value": [{"user_id": "mia", "item_id": "lamp", "kind": "purchase", "timestamp": 1795743894}],
    },
    "Gorse": {
        "summary": "as Gorse's clients send it",
        "value": [
            {"FeedbackType": "read", "UserId": "mia", "ItemId": "lamp", "Timestamp": "2026-11-27T08:30:00Z"},
        ],
    },
    "UBI": {
        "summary": "User Behavior Insights",
        "value": [
            {
                "action_name": "click",
                "client_id": "mia",
                "query_id": "0f8fad5b",
                "timestamp": "2026-11-27T08:30:00Z",
                "event_attributes": {"object": {"object_id": "candle"}, "position": {"ordinal": 1}},
            }
        ],
    },
}
ITEMS: dict[str, Any] = {
    "recllm": {
        "summary": "recllm's own shape",
        "value": [{"item_id": "kite", "title": "Red kite", "categories": ["Toys"], "price": 12.5}],
    },
    "Gorse": {
        "summary": "as Gorse's clients send it",
        "value": [{"ItemId": "kite", "IsHidden": False, "Categories": ["Toys"], "Comment": "Red kite"}],
    },
}
USERS: dict[str, Any] = {
    "recllm": {"summary": "recllm's own shape", "value": [{"user_id": "mia", "country": "NZ", "exclude": ["bear"]}]},
    "Gorse": {"summary": "as Gorse's clients send it", "value": [{"UserId": "mia", "Labels": {"country": "NZ"}}]},
}
USER: dict[str, Any] = {
    "user_id": "mia",
    "fields": {"country": "NZ"},
    "exclude": ["bear"],
    "events": [{"event_id": "c-1", "user_id": "mia", "item_id": "lamp", "timestamp": 1795743894.0, "kind": "purchase"}],
    "adapter": None,
}
ITEM: dict[str, Any] = {"item_id": "kite", "fields": {"title": "Red kite", "categories": ["Toys"]}, "hidden": False}

RECOMMEND_BODY: dict[str, Any] = {
    "rules": {
        "summary": "at most two of a category, one item first",
        "value": {"user_id": "mia", "n": 5, "caps": {"categories": 2}, "pinned": ["kite"], "diversity": 0.3},
    }
}
SESSION_BODY: dict[str, Any] = {
    "two picks": {
        "summary": "from two picks, with a wish",
        "value": {
            "events": [{"item_id": "lamp"}, {"item_id": "spade"}],
            "n": 5,
            "wishes": ["more of Garden"],
            "explain": True,
        },
    }
}
RANK_BODY: dict[str, Any] = {
    "three": {"summary": "three items", "value": {"user_id": "mia", "items": ["lamp", "hose", "kite"]}}
}
PAGE_BODY: dict[str, Any] = {"start": {"summary": "a start page", "value": {"user_id": "mia", "rows": 3, "n": 5}}}
WHATIF_BODY: dict[str, Any] = {
    "one more": {"summary": "if mia had the spade", "value": {"user_id": "mia", "add": ["spade"], "n": 5}}
}
