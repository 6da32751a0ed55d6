"""The SQL that only SQLite understands."""

from __future__ import annotations

from bridge.store.database import Statements

STATEMENTS = Statements(
    owed_results="""
        SELECT * FROM history WHERE published = 0 AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT 500
    """,
    owed_undelivered="""
        SELECT * FROM command WHERE undelivered = 1 AND transmitter IN (SELECT value FROM json_each(?))
        ORDER BY id LIMIT 1000
    """,
    last_result="""
        SELECT result FROM history WHERE transmitter = ? AND published = 1
        AND request IN (SELECT value FROM json_each(?)) ORDER BY id DESC LIMIT 1
    """,
    unconfigured="""
        SELECT transmitter, count(*) AS n FROM command WHERE state = 'pending' AND request IN ('alarm', 'restore')
        AND transmitter NOT IN (SELECT value FROM json_each(?)) GROUP BY transmitter ORDER BY transmitter
    """,
    change_mark="PRAGMA data_version",
)
