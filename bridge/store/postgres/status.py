"""What `sosbridge check` asks of the database."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import psycopg

from bridge.common.models import Secret
from bridge.store.postgres.connection import Server
from bridge.store.postgres.schema import SHARED

_FACTS: Final = f"""
    SELECT current_setting('server_version') AS version,
        current_setting('synchronous_standby_names') AS standbys,
        has_database_privilege(current_database(), 'CREATE') AS may_create,
        to_regnamespace('{SHARED}') IS NOT NULL AS is_used,
        (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) AS synchronous,
        extract(epoch FROM clock_timestamp())::float8 AS now
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Survey:
    version: str
    is_used: bool
    """Whether sosbridge has written to it."""
    faults: list[str]
    """Why it cannot be used."""
    warnings: list[str]


_CLOCK_S: Final = 5.0
"""A clock that differs by more from the database's is worth a warning: ages of alarms are compared."""


def survey(url: Secret) -> Survey:
    """Connect, and look whether the database is fit for use. Raises StoreError, ConfigError.

    That the server is too old, a standby or behind a pooler is a StoreError already.
    """
    server = Server(url)
    session = server.connect("sosbridge check")
    try:
        row = session.execute(_FACTS).fetchone()
    except psycopg.Error as error:
        raise server.fault(error) from None
    finally:
        session.close()
    assert row  # noqa: S101 - one, always
    faults, warnings = [], []
    if not row["is_used"] and not row["may_create"]:
        faults.append("it may not create tables there: GRANT CREATE ON DATABASE, or make it the owner")
    if not row["standbys"]:
        warnings.append(
            "synchronous_standby_names is empty: what was acknowledged last is lost with the server's machine"
        )
    elif not row["synchronous"]:
        faults.append("no synchronous standby is connected: nothing can be stored")
    offset = row["now"] - time.time()
    if abs(offset) > _CLOCK_S:
        warnings.append(f"its clock differs from that of this machine by {offset:+.0f} s")
    return Survey(row["version"], row["is_used"], faults, warnings)
