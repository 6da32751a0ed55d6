"""What judges a run over two nodes: it finds who wrote without owning, and what came again."""

from __future__ import annotations

import pytest
from chaos.ledger import Arrived, Ledger
from chaos.nodes_course import Outcome
from chaos.nodes_database import Account, DatabaseWire
from support.postgres import PostgresServer

from bridge.store.postgres.owner import LOCK_CLASS

_LOCK = f"SELECT pg_advisory_lock({LOCK_CLASS}, 0)"
_WRITE = "INSERT INTO sosbridge_0.command VALUES (1)"


def test_a_write_by_anybody_but_the_owner_is_found(postgres: PostgresServer, base: str) -> None:
    postgres.create(base)
    account = Account(lambda: postgres, base)
    try:
        with postgres.connect(base) as first, postgres.connect(base) as second:
            for table in ("sosbridge_0.command", "sosbridge_0.version", "sosbridge.shard", "sosbridge.node"):
                first.execute(f"CREATE SCHEMA IF NOT EXISTS {table.partition('.')[0]}".encode())
                first.execute(f"CREATE TABLE {table} (a int)".encode())
            account.begin()
            first.execute(_LOCK.encode())
            first.execute(_WRITE.encode())
            second.execute(b"INSERT INTO sosbridge.node VALUES (1)")  # any node writes its row
            assert (account.writes(), account.foreign()) == (1, [])
            second.execute(_WRITE.encode())
            first.execute(_WRITE.encode())
            wrong = account.foreign()
            assert len(wrong) == 2
            assert wrong[0].endswith("wrote without the lock")
            assert wrong[1].endswith("wrote after its loss")
    finally:
        postgres.drop(base)


def test_a_server_that_is_away_knows_of_nobody(postgres: PostgresServer) -> None:
    account = Account(lambda: postgres, "nowhere")
    assert (account.owner(), account.able(), account.foreign()) == (None, set(), [])


@pytest.mark.parametrize("committing", [b"Q\0\0\0\x0bCOMMIT\0", b"B\0\0\0\x10\0_pg3_7\0\0\0\0\0\0\0"])
def test_a_wire_loses_a_commit_by_its_text_or_its_name(committing: bytes) -> None:
    wire = DatabaseWire("database", lambda: 0)
    to_server, to_client = wire._changes()
    parse = b"P\0\0\0\x10_pg3_7\0COMMIT\0\0\0"
    assert to_server(parse) == parse
    wire.loses = "answer"
    assert to_server(b"B\0\0\0\x10\0_pg3_70\0\0\0\0\0\0\0") is not None
    assert to_client(b"C") == b"C"
    assert to_server(committing) == committing
    with pytest.raises(ConnectionResetError):
        to_client(b"C\0\0\0\x0bCOMMIT\0")
    wire.loses = "request"
    with pytest.raises(ConnectionResetError):
        to_server(committing)
    assert wire.loses is None


def test_alarms_that_came_again_count_for_their_fail_over() -> None:
    """An alarm that waits long may come again in two of them, though the first is over by then."""
    ledger, outcome = Ledger(), Outcome(fail_overs=[(10.0, 12.0), (20.0, 22.0), (30.0, 32.0)])
    sent = (1, (9.0, 11.0), 1), (2, (19.0, 31.0, 31.5), 1), (3, (21.0, 23.0), 2), (4, (5.0,), 1), (5, (31.0, 32.0), 1)
    for number, times, results in sent:
        alarm = ledger.new("t1", number, str(number))
        for each in range(results):
            alarm.results[str(each)] = "accepted"
        for at in times:
            ledger.arrived(Arrived(alarm.reference, "IK00001", "primary", 0), at)
    assert outcome.doubles(ledger) == {("t1", 1): 1, ("t1", 2): 1, ("t1", 3): 2}
