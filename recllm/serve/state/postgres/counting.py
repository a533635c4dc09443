"""How Postgres counts what became of answered lists."""

from recllm.serve.state.figures import Statements

# A list that names the character NUL cannot be taken apart by Postgres; it is left out of these figures.
_LISTS = r"""
WITH lists AS (
    SELECT recommendation_id, user_id, policy, items FROM impressions
    WHERE at >= ? ORDER BY at DESC, number DESC LIMIT ?
), lines AS (
    SELECT recommendation_id, line.value #>> '{}' AS channel, line.place - 1 AS place,
        items::json #>> ARRAY['item_id', (line.place - 1)::text] AS item_id
    FROM lists, json_array_elements(items::json -> 'channel') WITH ORDINALITY AS line (value, place)
    WHERE items LIKE '{%' AND strpos(items, '\u0000') = 0
)
"""

# Lines are kept as columns (see `packed_lines`); a list without lines has none.
FIGURES = Statements(
    who=_LISTS + "SELECT policy, user_id, count(*) FROM lists GROUP BY 1, 2",
    lines=_LISTS + "SELECT channel, place, count(*) FROM lines GROUP BY 1, 2",
    items=_LISTS + "SELECT item_id, count(*) FROM lines GROUP BY 1",
    clicked=_LISTS
    + """
SELECT recommendation_id, channel, place FROM lines
WHERE (recommendation_id, item_id) IN (
    SELECT recommendation_id, item_id FROM events WHERE timestamp >= ? AND recommendation_id IS NOT NULL
)
ORDER BY 1, 3
""",
)
