"""`sosbridge demo`: a broker, a panel, receivers and the bridge on one machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from pathlib import Path

from bridge.cli.common import say
from bridge.cli.demo.show import play
from bridge.cli.demo.stage import GUID, Failed, Stage
from bridge.common.stop import stop_signals

_TOO_LONG_S = 120.0

_BY_HAND = """
The demo keeps running. In another terminal:

  see everything     mosquitto_sub -p {port} -v -t 'sosbridge/#'
  raise an alarm     mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/alarm/raise -m BA
  with details       mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/alarm/raise \\
                       -m '{{"event_code": "FA", "section": "1", "section_text": "Kitchen"}}'
  restore it         mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/alarm/restore -m BA
  named alarm        mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/alarm/burglary/set -m ON
  send a heartbeat   mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/ping -m PRESS
  change password    mosquitto_pub -p {port} -q 1 -t sosbridge/transmitter/home/auth/rotate -m PRESS
  arm the panel      mosquitto_pub -p {port} -q 1 -t sosbridge/panel/{panel}/set -m ARM_AWAY

Ctrl-C stops the demo."""


async def run(args: argparse.Namespace) -> int:
    for noisy in ("bridge", "amqtt", "transitions"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with stop_signals() as stop, tempfile.TemporaryDirectory(prefix="sosbridge-demo-") as folder:
        stage = Stage(Path(folder), args.port)
        async with stage.running():
            good = await _play_until(stage, stop)
            if good and not args.once and not stop.is_set():
                say(_BY_HAND.format(port=stage.port, panel=GUID))
                stage.show_arrivals = True
                await stop.wait()
    return 0 if good else 1


async def _play_until(stage: Stage, stop: asyncio.Event) -> bool:
    """Run all steps until `stop` is set; return whether none failed."""
    show = asyncio.create_task(play(stage))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((show, stopped), timeout=_TOO_LONG_S, return_when=asyncio.FIRST_COMPLETED)
        if not show.done():
            return stop.is_set()
        await show
    except Failed as error:
        say(f"\nThe demo failed: {error}")
        return False
    finally:
        for task in (show, stopped):
            task.cancel()
        await asyncio.wait((show, stopped))
    return True
