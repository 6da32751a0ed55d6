"""Two thousand transmitters of one bridge at one receiver: none counts as failed for waiting behind the others."""

from __future__ import annotations

import asyncio
import json

from bench.kit import BRIDGE, Desk, Meter, bridge, broker

from bridge.sos_access.connection import AT_ONCE

COUNT = 2000
ANSWER_S = 0.2
"""`COUNT` heartbeats over `AT_ONCE` connections take longer than the five seconds that each may wait for one."""
WITHIN_S = 240
LAST = f"t{COUNT - 1}"


def test_the_first_heartbeats_of_thousands_all_succeed_and_an_alarm_does_not_wait_for_them() -> None:
    asyncio.run(_run())


async def _run() -> None:
    assert COUNT * ANSWER_S / AT_ONCE > 5
    with broker() as (running, folder):
        async with Meter(ANSWER_S).listening() as meter, Desk.open(running.port, meter) as desk:
            ours = bridge(folder, running.port, meter.port, [f"t{number}" for number in range(COUNT)])
            text = ours.config.read_text()
            ours.config.write_text(text.replace("use_single", 'heartbeat = "180s"\nuse_single'))
            ours.start()
            try:
                await _published(desk)
                ahead = len(meter.pinged)
                await _all_have_pinged(meter)
                await asyncio.sleep(1)
            finally:
                await ours.stop()
    assert ahead < COUNT, "the alarm waited until all heartbeats were sent"
    assert "no alarm can be delivered" not in ours.log
    assert "receiver_down" not in ours.log
    assert " ERROR " not in ours.log


async def _published(desk: Desk) -> None:
    """Publish an alarm of the last transmitter as soon as the bridge takes commands, and wait until it is through."""
    await desk.client.subscribe("bench/transmitter/t0/receiver/primary/state", qos=1)
    async with asyncio.timeout(WITHIN_S):
        await anext(desk.messages)
    desk.meter.expect(1)
    payload = json.dumps({"event_code": "BA", "reference": "among-them"})
    await desk.client.publish(BRIDGE.topic.format(LAST), payload, qos=1)
    await desk.meter.last()


async def _all_have_pinged(meter: Meter) -> None:
    async with asyncio.timeout(WITHIN_S):
        while len(meter.pinged) < COUNT:  # noqa: ASYNC110 - what the receiver has seen
            await asyncio.sleep(0.1)
