"""Two thousand transmitters of one bridge at one receiver: none counts as failed for waiting behind the others."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from bench.kit import BRIDGE, Desk, Meter, bridge, broker

from bridge.sos_access.connection import AT_ONCE

COUNT = 2000
ANSWER_S = 0.2
"""`COUNT` heartbeats over `AT_ONCE` connections take longer than the five seconds that each may wait for one."""
WITHIN_S = 240


def test_the_first_heartbeats_of_thousands_all_succeed_and_an_alarm_does_not_wait_for_them() -> None:
    asyncio.run(_run())


async def _run() -> None:
    assert COUNT * ANSWER_S / AT_ONCE > 5
    outcomes: Counter[str] = Counter()
    with broker() as (running, folder):
        async with Meter(ANSWER_S).listening() as meter, Desk.open(running.port, meter) as desk:
            ours = bridge(folder, running.port, meter.port, [f"t{number}" for number in range(COUNT)])
            text = ours.config.read_text()
            ours.config.write_text(text.replace("use_single", 'heartbeat = "180s"\nuse_single'))
            await desk.client.subscribe("bench/transmitter/+/ping/response", qos=1)
            ours.start()
            try:
                async with asyncio.timeout(WITHIN_S):
                    await _heartbeat(desk, outcomes)
                    ahead = await _alarm(desk)
                    while outcomes.total() < COUNT:
                        await _heartbeat(desk, outcomes)
            finally:
                await ours.stop()
    assert outcomes == {"accepted": COUNT}
    assert ahead < COUNT, "the alarm waited until all heartbeats were sent"
    assert " ERROR " not in ours.log


async def _heartbeat(desk: Desk, outcomes: Counter[str]) -> None:
    """Count the outcome of the next heartbeat that is published."""
    payload = (await anext(desk.messages)).payload
    assert isinstance(payload, bytes)
    outcomes[json.loads(payload)["outcome"]] += 1


async def _alarm(desk: Desk) -> int:
    """Publish an alarm of the last transmitter; return how many had sent a heartbeat when it was at the receiver."""
    desk.meter.expect(1)
    payload = json.dumps({"event_code": "BA", "reference": "among-them"})
    await desk.client.publish(BRIDGE.topic.format(f"t{COUNT - 1}"), payload, qos=1)
    await desk.meter.last()
    return len(desk.meter.pinged)
