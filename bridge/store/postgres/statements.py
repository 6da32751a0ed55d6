"""The SQL that only PostgreSQL understands."""

from __future__ import annotations

from bridge.store.database import COUNTED, Statements

STATEMENTS = Statements(
    owed_results="""
        SELECT * FROM history WHERE published = 0
        AND id NOT IN (SELECT CAST(json_array_elements_text(?) AS bigint)) ORDER BY id LIMIT 500
    """,
    owed_undelivered="""
        SELECT * FROM command WHERE undelivered = 1 AND transmitter IN (SELECT json_array_elements_text(?))
        ORDER BY id LIMIT 1000
    """,
    # Each name in turn: where many rows wait, a plan over all of them would read the whole table.
    active="""
        SELECT active.* FROM json_array_elements_text(?) AS given(name) CROSS JOIN LATERAL (
            SELECT * FROM active WHERE transmitter = name
        ) AS active ORDER BY since, event_code, section, detector, area
    """,
    counts=f"""
        SELECT name AS transmitter, counted.* FROM json_array_elements_text(?) AS given(name) CROSS JOIN LATERAL (
            SELECT {COUNTED} FROM command WHERE transmitter = name AND request IN ('alarm', 'restore')
        ) AS counted
    """,  # noqa: S608 - a constant
    last_results="""
        SELECT found.* FROM json_array_elements_text(?) AS given(name)
        CROSS JOIN json_array_elements_text(?) AS wanted(request)
        CROSS JOIN LATERAL (
            SELECT * FROM history WHERE transmitter = name AND history.request = wanted.request AND published = 1
            ORDER BY id DESC LIMIT 1
        ) AS found ORDER BY id
    """,
    last_tests="""
        SELECT found.* FROM json_array_elements_text(?) AS given(name) CROSS JOIN LATERAL (
            SELECT * FROM history WHERE transmitter = name AND request = 'test' ORDER BY id DESC LIMIT ?
        ) AS found ORDER BY id
    """,
    unconfigured="""
        SELECT transmitter, count(*) AS n FROM command WHERE state = 'pending' AND request IN ('alarm', 'restore')
        AND transmitter NOT IN (SELECT json_array_elements_text(?)) GROUP BY transmitter ORDER BY transmitter
    """,
    # Every write goes over the owner's session: no other program writes.
    change_mark="SELECT 0 AS data_version",
)
