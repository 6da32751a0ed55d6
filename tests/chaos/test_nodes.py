"""What judges a run over two nodes: it finds who wrote without owning, and what came again."""

from __future__ import annotations

from collections import Counter

import pytest
from chaos.ledger import Arrived
from chaos.nodes_course import _transmitters
from chaos.nodes_database import Account, DatabaseWire
from chaos.nodes_faults import SLOW
from chaos.nodes_outcome import FailOver, Outcome, ShardedLedger
from chaos.nodes_table import faulty
from support.postgres import PostgresServer

from bridge.config.shards import shard_of
from bridge.store.postgres.owner import LOCK_CLASS

_LOCK = f"SELECT pg_advisory_lock({LOCK_CLASS}, 1)"
_WRITE = "INSERT INTO sosbridge_1.command VALUES (1)"
_PROOF = "INSERT INTO sosbridge.shard VALUES (1)"


def test_a_write_by_anybody_but_the_owner_is_found(postgres: PostgresServer, base: str) -> None:
    postgres.create(base)
    account = Account(lambda: postgres, base)
    try:
        with postgres.connect(base) as first, postgres.connect(base) as second:
            for table in ("sosbridge_0.command", "sosbridge_1.command", "sosbridge_1.version", "sosbridge.shard",
                          "sosbridge.node"):  # fmt: skip
                first.execute(f"CREATE SCHEMA IF NOT EXISTS {table.partition('.')[0]}".encode())
                first.execute(f"CREATE TABLE {table} (shard int)".encode())
            account.begin()
            first.execute(_LOCK.encode())
            first.execute(_WRITE.encode())
            first.execute(_PROOF.encode())
            second.execute(b"INSERT INTO sosbridge.node VALUES (1)")  # any node writes its row
            assert (account.writes(), account.foreign()) == ({1: 2}, [])
            second.execute(_PROOF.encode())
            first.execute(_WRITE.encode())
            first.execute(b"INSERT INTO sosbridge_0.command VALUES (1)")  # it has the lock of another shard
            wrong = account.foreign()
            assert [shard for shard, _ in wrong] == [1, 0, 1]
            assert [what.endswith("wrote without the lock") for _, what in wrong] == [True, True, False]
            assert wrong[2][1].endswith("wrote after its loss")
    finally:
        postgres.drop(base)


def test_a_server_that_is_away_knows_of_nobody(postgres: PostgresServer) -> None:
    account = Account(lambda: postgres, "nowhere")
    assert (account.owners(), account.able(), account.foreign()) == ({}, set(), [])


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
    outcome = Outcome([FailOver("killed", begun, begun + 2, {0: 1.0}) for begun in (10.0, 20.0, 30.0)])
    ledger = ShardedLedger(1)
    sent = (1, (9.0, 11.0), 1), (2, (19.0, 31.0, 31.5), 1), (3, (21.0, 23.0), 2), (4, (5.0,), 1), (5, (31.0, 32.0), 1)
    for number, times, results in sent:
        _sent(ledger, "t1", number, times, results)
    assert outcome.doubles(ledger) == {("t1", 1): 1, ("t1", 2): 1, ("t1", 3): 2}


def test_only_a_fail_over_of_its_shard_excuses_an_alarm_that_came_twice() -> None:
    assert (shard_of("t1", 8), shard_of("t2", 8)) == (7, 5)
    ledger = ShardedLedger(8)
    outcome = Outcome([FailOver("killed", 10.0, 12.0, {7: 1.0})])
    ledger.taken_over[7].append((10.0, 11.0))
    for name in ("t1", "t2"):
        _sent(ledger, name, 1, (9.0, 11.0), 1)
    assert {alarm.transmitter: reason for alarm, reason in ledger.twice()} == {"t1": "taken over", "t2": "no reason"}
    assert outcome.doubles(ledger) == {("t1", 1): 1, ("t2", 0): 1}
    assert "t1" not in "".join(each for each in faulty(ledger, outcome) if "without a reason" in each)


@pytest.mark.parametrize(("name", "shard", "found"), [("killed", 0, True), (SLOW[0], 0, False), (SLOW[0], 1, True)])
def test_a_take_over_that_turns_a_shard_offline_is_found(name: str, shard: int, found: bool) -> None:  # noqa: FBT001
    outcome = Outcome([FailOver(name, 10.0, 30.0, {0: 19.0})], offline=[(shard, 28.0)])
    assert (f"shard {shard} was offline" in faulty(ShardedLedger(2), outcome)) is found


def test_each_shard_has_as_many_transmitters() -> None:
    names = _transmitters(16, 8)
    assert Counter(shard_of(name, 8) for name in names) == dict.fromkeys(range(8), 2)
    assert _transmitters(6, 1) == [f"t{number}" for number in range(1, 7)]


def _sent(ledger: ShardedLedger, transmitter: str, number: int, times: tuple[float, ...], results: int) -> None:
    alarm = ledger.new(transmitter, number, str(number))
    alarm.published.append(times[0])
    for each in range(results):
        alarm.results[str(each)] = "accepted"
    for at in times:
        attempt = ledger.arrived(Arrived(alarm.reference, "IK00001", "primary", 0), at)
        attempt.answered, attempt.ended = True, at
