"""How SQLite counts what became of answered lists."""

from recllm.serve.state.figures import Statements

_LISTS = """
WITH lists AS (
    SELECT recommendation_id, user_id, policy, items FROM impressions
    WHERE at >= ? ORDER BY at DESC, number DESC LIMIT ?
)
"""

# Lines are kept as columns (see `packed_lines`); a list without lines has none.
FIGURES = Statements(
    who=_LISTS + "SELECT policy, user_id, count(*) FROM lists GROUP BY 1, 2",
    lines=_LISTS
    + "SELECT line.value, line.key, count(*) FROM lists, json_each(items, '$.channel') AS line GROUP BY 1, 2",
    items=_LISTS + "SELECT line.value, count(*) FROM lists, json_each(items, '$.item_id') AS line GROUP BY 1",
    clicked=_LISTS
    + """, events_of_them AS (
    SELECT DISTINCT recommendation_id, item_id FROM events WHERE timestamp >= ? AND recommendation_id IS NOT NULL
)
SELECT recommendation_id, json_extract(items, '$.channel[' || line.key || ']'), line.key
FROM events_of_them JOIN lists USING (recommendation_id), json_each(items, '$.item_id') AS line
WHERE line.value = item_id ORDER BY 1, 3
""",
)
