"""The SQL that only SQLite understands."""

from __future__ import annotations

from bridge.store.database import COUNTED, Statements

STATEMENTS = Statements(
    owed_results="""
        SELECT * FROM history WHERE published = 0 AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT 500
    """,
    owed_undelivered="""
        SELECT * FROM command WHERE undelivered = 1 AND transmitter IN (SELECT value FROM json_each(?))
        ORDER BY id LIMIT 1000
    """,
    active="""
        SELECT * FROM active WHERE transmitter IN (SELECT value FROM json_each(?))
        ORDER BY since, event_code, section, detector, area
    """,
    counts=f"""
        SELECT transmitter, {COUNTED} FROM command
        WHERE transmitter IN (SELECT value FROM json_each(?)) AND request IN ('alarm', 'restore')
        GROUP BY transmitter
    """,  # noqa: S608 - a constant
    last_results="""
        SELECT * FROM history WHERE id IN (
            SELECT (
                SELECT id FROM history WHERE transmitter = name.value AND request = wanted.value AND published = 1
                ORDER BY id DESC LIMIT 1
            ) FROM json_each(?) AS name, json_each(?) AS wanted
        ) ORDER BY id
    """,
    last_tests="""
        SELECT * FROM (
            SELECT *, row_number() OVER (PARTITION BY transmitter ORDER BY id DESC) AS place FROM history
            WHERE transmitter IN (SELECT value FROM json_each(?)) AND request = 'test'
        ) WHERE place <= ? ORDER BY id
    """,
    unconfigured="""
        SELECT transmitter, count(*) AS n FROM command WHERE state = 'pending' AND request IN ('alarm', 'restore')
        AND transmitter NOT IN (SELECT value FROM json_each(?)) GROUP BY transmitter ORDER BY transmitter
    """,
    change_mark="PRAGMA data_version",
)
