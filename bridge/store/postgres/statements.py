"""The SQL that only PostgreSQL understands."""

from __future__ import annotations

from bridge.store.database import Statements

STATEMENTS = Statements(
    owed_results="""
        SELECT * FROM history WHERE published = 0
        AND id NOT IN (SELECT CAST(json_array_elements_text(?) AS bigint)) ORDER BY id LIMIT 500
    """,
    owed_undelivered="""
        SELECT * FROM command WHERE undelivered = 1 AND transmitter IN (SELECT json_array_elements_text(?))
        ORDER BY id LIMIT 1000
    """,
    last_result="""
        SELECT result FROM history WHERE transmitter = ? AND published = 1
        AND request IN (SELECT json_array_elements_text(?)) ORDER BY id DESC LIMIT 1
    """,
    unconfigured="""
        SELECT transmitter, count(*) AS n FROM command WHERE state = 'pending' AND request IN ('alarm', 'restore')
        AND transmitter NOT IN (SELECT json_array_elements_text(?)) GROUP BY transmitter ORDER BY transmitter
    """,
    # Every write goes over the owner's session: no other program writes.
    change_mark="SELECT 0 AS data_version",
)
