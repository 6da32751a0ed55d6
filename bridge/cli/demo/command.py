"""`sosbridge demo`: a broker, a panel, receivers and the bridge on one machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from collections.abc import Coroutine
from pathlib import Path

from bridge.cli.common import say
from bridge.cli.demo.show import play
from bridge.cli.demo.stage import DOOR, GUID, SMOKE, Failed, Stage
from bridge.cli.simulate.panel import do
from bridge.common.errors import BridgeError
from bridge.common.stop import Stop, stop_signals

_TOO_LONG_S = 120.0

_BY_HAND = """
The demo keeps running, and shows here what follows. In another terminal (mosquitto_pub is of the package
mosquitto-clients):

  see everything     mosquitto_sub -p {port} -v -t 'sosbridge/#'
  raise an alarm     mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/alarm/raise -m BA
  with details       mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/alarm/raise \\
                       -m '{{"event_code": "FA", "section": "1", "section_text": "Kitchen"}}'
  restore it         mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/alarm/restore -m BA
  named alarm        mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/alarm/burglary/set -m ON
  send a heartbeat   mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/ping -m PRESS
  change password    mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/auth/rotate -m PRESS
  arm the panel      mosquitto_pub -p {port} -t sosbridge/panel/{panel}/set -m ARM_AWAY
  disarm it          mosquitto_pub -p {port} -t sosbridge/panel/{panel}/set -m DISARM
  smoke              mosquitto_pub -p {port} -t demo/panel -m 'alarm {smoke}'
  open the door      mosquitto_pub -p {port} -t demo/panel -m 'open {door}'

Ctrl-C stops the demo."""


async def run(args: argparse.Namespace) -> int:
    for noisy in ("bridge", "amqtt", "transitions"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with stop_signals() as stop, tempfile.TemporaryDirectory(prefix="sosbridge-demo-") as folder:
        stage = Stage(Path(folder), args.port)
        async with stage.running():
            status = await _play_until(stage, stop)
            if status == 0 and not args.once:
                say(_BY_HAND.format(port=stage.port, panel=GUID, smoke=SMOKE, door=DOOR))
                await _until(stop, _follow(stage))
    return status


async def _play_until(stage: Stage, stop: Stop) -> int:
    """Run all steps until `stop` is set; return the exit status."""
    try:
        async with asyncio.timeout(_TOO_LONG_S):
            return 0 if await _until(stop, play(stage)) else stop.status
    except (Failed, TimeoutError) as error:
        say(f"\nThe demo failed: {error or f'it took longer than {_TOO_LONG_S:.0f} s'}")
        return 1


async def _until(stop: Stop, work: Coroutine[None, None, None]) -> bool:
    """Run `work` until `stop` is set; return whether it came to its end."""
    tasks = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            await tasks[0]
        return tasks[0].done()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _follow(stage: Stage) -> None:
    """Show what happens, and have the panel do what is published on demo/panel."""
    async for line in stage.follow():
        try:
            await do(stage.panel, line)
        except BridgeError as error:
            say(str(error))
