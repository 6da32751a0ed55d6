"""What all parts of one bridge use: its settings, store, queue, topics, problems."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from bridge.app import build, web
from bridge.app.ownership import Place
from bridge.common.clock import Clock
from bridge.common.models import NamedAlarm
from bridge.common.problems import Problems
from bridge.config.settings import Settings
from bridge.mqtt.outgoing import Outgoing
from bridge.store.database import Store
from bridge.store.outbox import Outbox
from bridge.store.postgres.requests import OtherShards
from bridge.store.postgres.subscribed import subscribed
from bridge.transmitters.topics import Topics

if TYPE_CHECKING:
    from bridge.web.board import Board


@dataclass(frozen=True, slots=True)
class Core:
    settings: Settings
    store: Store
    place: Place | None
    """In a cluster; then the node shows the page and answers health checks."""
    clock: Clock
    problems: Problems
    outbox: Outbox
    topics: Topics
    outgoing: Outgoing
    board: Board | None

    @property
    def transmitters(self) -> int:
        """How many this process may own, in all shards."""
        return len(self.topics.transmitters) + len(self.topics.others)

    @property
    def others(self) -> OtherOwners | None:
        """The owners of other shards, where there may be any."""
        return OtherOwners(self.place, self.store) if self.place and self.settings.store.shards > 1 else None

    def differs(self) -> bool:
        """Return whether the owner of another shard may have another configuration."""
        return self.place is not None and self.place.differs()


@dataclass(frozen=True, slots=True)
class OtherOwners:
    """The owners of other shards (`bridge.transmitters.intake.Others`)."""

    place: Place
    store: Store

    def differs(self) -> bool:
        return self.place.differs()

    async def subscribed(self, transmitters: Collection[str]) -> set[str]:
        return await self.store.read(lambda db: subscribed(db, transmitters))

    def alarms(self, transmitter: str) -> Mapping[str, NamedAlarm] | None:
        return self.place.alarms(transmitter)


def make_core(settings: Settings, store: Store, place: Place | None) -> Core:
    """Return the core of a new bridge. Raises ConfigError."""
    shard, others = (place.ownership.shard, place.others) if place else (0, {})
    history, elsewhere = timedelta(seconds=settings.store.history), OtherShards(others) if others else None
    outbox = Outbox(store, settings.store.max_commands, history, elsewhere)
    outgoing, problems = Outgoing(asyncio.Event()), Problems()
    board = place.board if place else web.board(settings, problems)
    if board:
        outgoing.follow(board.published)
    topics = build.topics(settings, shard, others)
    return Core(settings, store, place, Clock(shared=place is not None), problems, outbox, topics, outgoing, board)
