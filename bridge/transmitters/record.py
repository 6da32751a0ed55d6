"""Publishes each transmitter's figures of the month, at the start and hourly (TOPICS.md, Record)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.mqtt.outgoing import Outgoing
from bridge.record.figures import Figures, Subject
from bridge.record.months import Month
from bridge.record.reader import read_month
from bridge.store.edges import Edges
from bridge.transmitters.topics import Topics

log = logging.getLogger(__name__)

_EACH_S = 3600.0
_BETWEEN_S = 0.005
"""Between two transmitters: thousands take seconds of the processor, which a start needs for alarms."""
_AFTER_S = 5.0
"""What is measured up to the full hour is on disk by then."""


class RecordPublisher:
    def __init__(
        self,
        topics: Topics,
        edges: Edges,
        outgoing: Outgoing,
        subjects: Sequence[Subject],
        clock: Clock,
        measured: Callable[[Figures], None] | None = None,
    ) -> None:
        """`measured` is called with the figures of each transmitter."""
        self._measured = measured
        self._topics = topics
        self._edges = edges
        self._outgoing = outgoing
        self._subjects = subjects
        self._clock = clock

    async def run(self) -> None:
        """Publish until cancelled."""
        until = self._now()
        while True:
            await self._publish(until)
            await asyncio.sleep(_EACH_S - (self._now() - _AFTER_S) % _EACH_S)
            until = self._now() // _EACH_S * _EACH_S

    def _now(self) -> float:
        return self._clock.now().timestamp()

    async def _publish(self, until: float) -> None:
        """Publish what was measured up to `until`; at the end of a month that is the whole month."""
        if self._clock.is_wrong or self._edges.is_partial:
            return
        try:
            async with aclosing(read_month(self._edges, self._subjects, Month.of(until - 1), until)) as months:
                async for found in months:
                    if self._measured:
                        self._measured(found)
                    self._outgoing.state(self._topics.of(found.transmitter, "record"), json.dumps(found.as_json()))
                    await asyncio.sleep(_BETWEEN_S)
        except StoreError as error:
            log.error("%s", error)
