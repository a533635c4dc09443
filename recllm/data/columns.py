"""Which column of a file plays which part: recllm's names and the aliases of other libraries.

Names are compared without case, spaces, `_` and `-`, so that `UserId` (Gorse), `USER_ID` (Personalize) and
`userID` (recommenders) are one spelling; RecBole's `name:type` suffix is cut off first.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from recllm.errors import DataError


def _aliases(**spellings: str) -> dict[str, tuple[str, ...]]:
    return {role: tuple(names.split()) for role, names in spellings.items()}


# The first spelling is recllm's own name. When a file holds several of one row, the earlier one wins.
INTERACTION_COLUMNS = _aliases(
    user_id="user_id user uid customer_id customer visitor_id member_id account_id reviewer_id learner_id "
    "student_id client_id client buyer_id shopper_id person_id household_id",
    item_id="item_id item iid product_id movie_id course_id article_id content_id track_id book_id video_id "
    "news_id post_id asset_id parent_asin asin isbn stock_code sku",
    timestamp="timestamp time_stamp datetime unix_time unix_review_time event_time created_at invoice_date date "
    "time ts when order_date order_time ordered_at purchase_date purchase_time purchased_at "
    "transaction_date transaction_time t_dat event_date event_timestamp created created_on added_at "
    "date_added occurred_at clicked_at viewed_at visited_at watched_at played_at listened_at read_at "
    "rated_at rating_timestamp review_date review_time reviewed_at timestamp_ms time_ms ts_ms server_time",
    rating="rating ratings stars overall user_rating",
    event="event event_type feedback_type interaction_type behavior behaviour action",
    weight="weight event_value confidence",
    review_text="review_text review review_body comment",
)

ITEM_COLUMNS = {"item_id": (*INTERACTION_COLUMNS["item_id"], "id")} | _aliases(
    title="title name item_name item_title product_name product_title movie_title course_name book_title "
    "headline display_name full_name product film movie movie_name film_title song song_name track_name "
    "track_title video_title article_title course_title recipe_name game_name post_title question_title "
    "titel titre titulo nombre subject",
    text="text description product_description item_description long_description full_description "
    "movie_description book_description course_description desc introduction overview synopsis abstract "
    "summary plot plot_summary storyline body body_html content about details blurb excerpt teaser intro "
    "short_description lyrics transcript beschreibung descripcion descrizione comment",
    categories="categories category genres genre category_l1 tags topics class labels category_name category_names "
    "product_category product_type main_category subjects keywords",
)

_RECBOLE_TYPE = re.compile(r":(token|token_seq|float|float_seq)$")


@dataclass(frozen=True)
class ColumnMapping:
    """The outcome of matching a file's columns with recllm's.

    Attributes:
        found: recllm's name -> the name in the file.
        extras: The name a further column gets -> its name in the file.
        space_separated: Names in the file that RecBole declares as sequences (`:token_seq`, split at spaces).
        notes: Sentences for the report (a second candidate that was left as an extra column).
    """

    found: dict[str, str]
    extras: dict[str, str]
    space_separated: frozenset[str]
    notes: tuple[str, ...]

    def with_role(self, role: str, theirs: str) -> "ColumnMapping":
        """With a further column as one of recllm's."""
        extras = {name: column for name, column in self.extras.items() if column != theirs}
        return replace(self, found={**self.found, role: theirs}, extras=extras)


def match_columns(
    present: Sequence[str],
    known: Mapping[str, tuple[str, ...]],
    required: Sequence[str],
    chosen: Mapping[str, str] | None,
    source: str,
) -> ColumnMapping:
    """Match the columns of a table with recllm's names.

    Args:
        present: Column names as they are in the file or frame.
        known: recllm's names with their accepted aliases.
        required: Names without which the table is useless.
        chosen: The caller's own choice, recllm's name -> name in the file; wins over aliases.
        source: What is being read, for the error sentence.

    Raises:
        DataError: A required column is missing, or `chosen` names an unknown one.
    """
    chosen = dict(chosen or {})
    _check_choice(present, known, chosen, source)
    found = dict(chosen)
    by_spelling: dict[str, str] = {}
    for name in present:
        by_spelling.setdefault(_spelling(name), name)
    notes = []
    for role, aliases in known.items():
        candidates = [by_spelling[_spelling(a)] for a in aliases if _spelling(a) in by_spelling]
        candidates = [c for c in dict.fromkeys(candidates) if c not in chosen.values()]
        if role in chosen or not candidates:
            continue
        taken = set(found.values())
        free = [c for c in candidates if c not in taken]
        if free:
            found[role] = free[0]
            notes += [f"column {c!r} could also be {role}; {free[0]!r} was taken" for c in free[1:]]
    for role in required:
        if role not in found:
            raise DataError(_missing(role, present, known[role], source))
    extras = _name_extras([c for c in present if c not in found.values()], set(known))
    space_separated = frozenset(c for c in present if c.endswith(":token_seq"))
    return ColumnMapping({r: found[r] for r in known if r in found}, extras, space_separated, tuple(notes))


def role_of(name: str, known: Mapping[str, tuple[str, ...]]) -> str | None:
    """The name recllm has for a column, or None if it is none of the known ones."""
    spelling = _spelling(name)
    return next((role for role, aliases in known.items() if spelling in map(_spelling, aliases)), None)


def _spelling(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", _plain(name)).casefold()


def _plain(name: str) -> str:
    return _RECBOLE_TYPE.sub("", name.strip().lstrip("\ufeff"))


def _check_choice(
    present: Sequence[str], known: Mapping[str, tuple[str, ...]], chosen: Mapping[str, str], source: str
) -> None:
    for role, name in chosen.items():
        if role not in known:
            raise DataError(
                f"columns= maps recllm's names to yours, but {role!r} is none of {', '.join(known)}; "
                f"write for example columns={{'item_id': 'sku'}}"
            )
        if name not in present:
            raise DataError(f"{source} has no column {name!r} (asked for as {role}): found {_listing(present)}")


def _missing(role: str, present: Sequence[str], aliases: Sequence[str], source: str) -> str:
    return (
        f"{source} has no column for {role}: found {_listing(present)}; accepted are {', '.join(aliases)} "
        f"(case, spaces and underscores do not matter), or say which with columns={{{role!r}: '<your column>'}}; "
        f"where a file has no header, name all its columns with columns=[{role!r}, …]"
    )


def _listing(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(repr(n if len(n) <= 60 else n[:57] + "...") for n in names[:most])
    return (shown + f" and {len(names) - most} more") if len(names) > most else (shown or "no columns at all")


def _name_extras(names: Sequence[str], reserved: set[str]) -> dict[str, str]:
    extras: dict[str, str] = {}
    for position, name in enumerate(names):
        plain = _plain(name) or f"column_{position + 1}"
        while plain in extras or plain in reserved:
            plain += "_"
        extras[plain] = name
    return extras
