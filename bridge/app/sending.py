"""The transmitters of a bridge, with what publishes and records them and plans their test alarms."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.app import build
from bridge.app.core import Core
from bridge.app.file_limits import FILES_OF_A_TRANSMITTER, reserve
from bridge.record.recorder import Recorder
from bridge.store.edges import Edges
from bridge.transmitters.network import Network
from bridge.transmitters.publisher import Publisher
from bridge.transmitters.record import RecordPublisher
from bridge.transmitters.scheduled_tests import ScheduledTests
from bridge.transmitters.transmitter import Transmitter


@dataclass(frozen=True, slots=True)
class SendingParts:
    publisher: Publisher
    recorder: Recorder
    record: RecordPublisher
    tests: ScheduledTests
    transmitters: dict[str, Transmitter]


def make_sending(core: Core) -> SendingParts:
    """Return the transmitters with their parts, and files to open for them. Raises ConfigError."""
    settings, clock, outbox, topics, outgoing = core.settings, core.clock, core.outbox, core.topics, core.outgoing
    recorder = Recorder(edges := Edges(core.store), clock)
    publisher = Publisher(topics, outbox, outgoing, core.problems, recorder)
    measured = core.board.measured if core.board else None
    reserve(FILES_OF_A_TRANSMITTER * core.transmitters)
    network, homes = _network(core), core.place.homes if core.place else None
    lines = build.lines(settings, clock, network, homes)
    return SendingParts(
        publisher,
        recorder,
        RecordPublisher(topics, edges, outgoing, build.subjects(settings), clock, measured),
        ScheduledTests(build.planned_tests(settings), outbox, clock, core.problems),
        {each.name: Transmitter(each, outbox, publisher, clock) for each in lines},
    )


def _network(core: Core) -> Network:
    network = Network(pace=core.place.pace if core.place else None)
    if core.board:
        network.answered = core.board.exchanges.add
    if core.place:
        network.permit, network.stored_first = core.place.ownership.permit, True
    return network
