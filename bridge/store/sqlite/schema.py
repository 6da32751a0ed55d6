"""The tables of the store, as migrations from one schema version to the next."""

from __future__ import annotations

# Each entry upgrades the schema by one version. A released entry is never edited, not even a comment: stores keep it.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE command (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- the order in which commands were accepted
        transmitter TEXT NOT NULL,
        request TEXT NOT NULL,                  -- alarm, restore, ping, auth
        event_code TEXT NOT NULL DEFAULT '',    -- these four: which alarm it is about ('' where not given)
        area TEXT NOT NULL DEFAULT '',
        section TEXT NOT NULL DEFAULT '',
        detector TEXT NOT NULL DEFAULT '',
        body TEXT NOT NULL,                     -- JSON: the message's fields, the warnings
        accepted_at REAL NOT NULL,              -- Unix time, s
        state TEXT NOT NULL DEFAULT 'pending',  -- pending, rejected (set aside for a person)
        unauthorized INTEGER NOT NULL DEFAULT 0,
        undelivered INTEGER NOT NULL DEFAULT 0, -- 1: the event is owed, 2: it was published
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT '',
        reply_topic TEXT,
        correlation BLOB
    );
    CREATE INDEX command_order ON command (transmitter, state, id);
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        command_id INTEGER,
        transmitter TEXT NOT NULL,
        request TEXT NOT NULL,
        completed_at REAL NOT NULL,
        result TEXT NOT NULL,                   -- JSON, as published
        reply_topic TEXT,
        correlation BLOB,
        published INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX history_owed ON history (id) WHERE published = 0;
    CREATE INDEX history_last ON history (transmitter, request, id);
    CREATE TABLE active (
        transmitter TEXT NOT NULL, event_code TEXT NOT NULL,
        area TEXT NOT NULL, section TEXT NOT NULL, detector TEXT NOT NULL,
        since REAL NOT NULL, reference TEXT,
        PRIMARY KEY (transmitter, event_code, area, section, detector)
    ) WITHOUT ROWID;
    CREATE TABLE seen (mid INTEGER PRIMARY KEY, digest BLOB NOT NULL);
    """,
    """
    CREATE TABLE panel (guid TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;  -- JSON: state, alarms to restore
    CREATE TABLE forwarded (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;    -- physical events told already
    """,
    """
    -- when a command was accepted by the clock that counts from a boot, and whether the wall clock was sure (Moment)
    ALTER TABLE command ADD COLUMN boot TEXT NOT NULL DEFAULT '';
    ALTER TABLE command ADD COLUMN steady REAL NOT NULL DEFAULT 0;
    ALTER TABLE command ADD COLUMN sure INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;  -- what a start has to know
    -- which MQTT message it came with, until the broker has the acknowledgement for certain (Deliveries)
    ALTER TABLE command ADD COLUMN mid INTEGER;
    ALTER TABLE command ADD COLUMN digest BLOB;
    CREATE INDEX command_mid ON command (mid) WHERE mid IS NOT NULL;
    DROP TABLE seen;
    """,
    """
    -- what identifies a command where it is not known whether it was stored (Outbox)
    ALTER TABLE command ADD COLUMN token BLOB;
    ALTER TABLE history ADD COLUMN token BLOB;
    -- when the bridge ran; `last`: its stop, else its last write (Edges)
    CREATE TABLE run (id INTEGER PRIMARY KEY AUTOINCREMENT, start REAL NOT NULL, last REAL NOT NULL);
    CREATE TABLE edge (
        run INTEGER NOT NULL, transmitter TEXT NOT NULL,
        part TEXT NOT NULL,                     -- link, receiver/R, path/N
        at REAL NOT NULL, up INTEGER NOT NULL,
        PRIMARY KEY (run, transmitter, part, at)
    ) WITHOUT ROWID;
    """,
)
_LAST_OF_EACH = "SELECT max(id) FROM history WHERE published GROUP BY transmitter, request"
NEEDED = {"history": f"WHERE published = 0 OR id IN ({_LAST_OF_EACH})", "edge": "WHERE 0"}
"""Which rows of a table the service needs: of the published results the last of each kind, no old edges."""
