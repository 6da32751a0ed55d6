"""`sosbridge simulate panel`: a G90 panel to try a setup with, told what to do by switches or on standard input."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from bridge.common.errors import BridgeError, ConfigError
from bridge.common.text import clean
from bridge.config.types import host_port
from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.constants import (
    CLOUD_PORT,
    LOCAL_PORT,
    REMOTE_BUTTONS,
    ArmCode,
    SensorCode,
    SensorType,
    Source,
    StateCode,
)

_EXAMPLE: Final = """commands, each with --do or as a line on standard input:
  arm-away  arm-home  disarm  sos  power-lost  power-back  panel-battery-low  wifi-lost  wifi-back
  open N  close N  motion N  alarm N  tamper N  battery-low N  ring N     (N: a sensor's index)
  button N arm_away|arm_home|disarm|sos     wait SECONDS     quit

examples:
  sosbridge simulate panel --cloud 127.0.0.1:5678 --sensor 1:door:"Front door" --sensor 9:smoke:"Kitchen smoke"
  sosbridge simulate panel --do arm-away --do "alarm 9" --do "wait 5" --do disarm
"""
_PATIENCE_S: Final = 30.0
_Act = Callable[[PanelSimulator, list[str]], Awaitable[None]]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "panel",
        help="be an alarm panel",
        description="A G90 panel that dials a bridge, says hello, pings, reports, and obeys commands over UDP and over "
        "its connection. Without --do it takes commands on standard input until it is stopped.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--guid", default="GB7F20C14D05A91", help="its GUID (default: %(default)s)")
    parser.add_argument(
        "--cloud",
        type=_address,
        default=("127.0.0.1", CLOUD_PORT),
        metavar="HOST:PORT",
        help=f"the server that it dials (default: 127.0.0.1:{CLOUD_PORT})",
    )
    parser.add_argument(
        "--local",
        type=_address,
        metavar="HOST:PORT",
        help=f"answer UDP commands here, such as 127.0.0.1:{LOCAL_PORT} (default: not at all)",
    )
    parser.add_argument(
        "--sensor",
        type=_sensor,
        action="append",
        default=[],
        metavar="N:TYPE:NAME",
        help="a sensor, such as 9:smoke:Kitchen; repeatable",
    )
    parser.add_argument(
        "--interval", type=float, default=60.0, metavar="S", help="seconds between hellos (default: %(default)g)"
    )
    parser.add_argument("--chop", type=_count, metavar="BYTES", help="send pieces of so many bytes")
    parser.add_argument(
        "--glue", action="store_true", help="send all that belongs to an event, and a ping, in one piece"
    )
    parser.add_argument("--do", action="append", default=[], metavar="COMMAND", help="do this, then end; repeatable")
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    """Be a panel until told to quit, SIGINT or SIGTERM; return the exit status."""
    simulator = PanelSimulator(
        args.guid,
        cloud=args.cloud,
        local=args.local,
        sensors=args.sensor,
        interval=args.interval,
        chop=args.chop,
        glue=args.glue,
    )
    for line in args.do:
        _parse(line)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    tasks = [
        asyncio.create_task(simulator.run()),
        asyncio.create_task(_play(simulator, args.do)),
        asyncio.create_task(_wait(stopped)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return max(task.result() or 0 for task in done)
    except* OSError as errors:
        raise ConfigError(f"the simulated panel cannot run: {errors.exceptions[0]}") from None
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _wait(stopped: asyncio.Event) -> int:
    await stopped.wait()
    return 0


async def _play(simulator: PanelSimulator, script: list[str]) -> int:
    """Do what the script says, else what standard input says, for ever."""
    try:
        async with asyncio.timeout(_PATIENCE_S if script else None):
            await simulator.answered.wait()
    except TimeoutError:
        host, port = simulator.cloud or ("", 0)
        _say(f"nobody answers at {host}:{port}")
        return 1
    _say(f"panel {simulator.guid} is connected")
    for line in script:
        await _do(simulator, line)
    if script:
        return 0
    async for line in _lines():
        if line == "quit":
            return 0
        try:
            await _do(simulator, line)
        except BridgeError as error:
            _say(str(error))
    await asyncio.Event().wait()
    return 0


async def _do(simulator: PanelSimulator, line: str) -> None:
    act, words = _parse(line)
    try:
        await act(simulator, words)
    except ConnectionError as error:
        raise ConfigError(f"{line}: {error}") from error
    _say(f"done: {line}")


def _parse(line: str) -> tuple[_Act, list[str]]:
    """Return what a command does and its arguments; raise `ConfigError` for one that there is not."""
    word, *rest = line.split() or [""]
    arity, act = _ACTS.get(word, (0, None))
    if act is None or len(rest) != arity or not all(_fits(text) for text in rest):
        raise ConfigError(f"no command: {clean(line, 60)}; there are {', '.join(sorted(_ACTS))}, quit")
    return act, rest


def _fits(text: str) -> bool:
    return text in REMOTE_BUTTONS.values() or text.replace(".", "", 1).isdecimal()


def _arms(state: ArmCode) -> tuple[int, _Act]:
    return 0, lambda simulator, _: simulator.arm(state)


def _states(state: StateCode) -> tuple[int, _Act]:
    return 0, lambda simulator, _: simulator.panel_state(state)


def _senses(state: int, source: Source | None = None) -> tuple[int, _Act]:
    return 1, lambda simulator, words: simulator.activity(int(words[0]), state, source)


def _alarms(state: SensorCode) -> tuple[int, _Act]:
    return 1, lambda simulator, words: simulator.alarm(int(words[0]), state)


def _button(simulator: PanelSimulator, words: list[str]) -> Awaitable[None]:
    code = next((code for code, name in REMOTE_BUTTONS.items() if name == words[1]), 0)
    return simulator.activity(int(words[0]), code, Source.REMOTE)


_ACTS: Final[dict[str, tuple[int, _Act]]] = {
    "arm-away": _arms(ArmCode.ARMED_AWAY),
    "arm-home": _arms(ArmCode.ARMED_HOME),
    "disarm": _arms(ArmCode.DISARMED),
    "sos": (0, lambda simulator, _: simulator.sos()),
    "power-lost": _states(StateCode.AC_POWER_LOST),
    "power-back": _states(StateCode.AC_POWER_RESTORED),
    "panel-battery-low": _states(StateCode.BATTERY_LOW),
    "wifi-lost": _states(StateCode.WIFI_DISCONNECTED),
    "wifi-back": _states(StateCode.WIFI_CONNECTED),
    "open": _senses(SensorCode.OPEN),
    "close": _senses(SensorCode.CLOSED),
    "motion": _senses(0, Source.INFRARED),
    "battery-low": _senses(SensorCode.BATTERY_LOW),
    "ring": _senses(0, Source.DOORBELL),
    "alarm": _alarms(SensorCode.ALARM),
    "tamper": _alarms(SensorCode.TAMPER),
    "button": (2, _button),
    "wait": (1, lambda _, words: asyncio.sleep(float(words[0]))),
}


async def _lines() -> AsyncIterator[str]:
    """Read standard input without holding up the loop; a file or nothing at all is read at once."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if stat.S_ISCHR(mode) and not sys.stdin.isatty():
        return  # /dev/null, as in a container: it cannot be waited for
    if stat.S_ISREG(mode):
        for line in sys.stdin.read().splitlines():
            yield line.strip()
        return
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    with suppress(PermissionError, ValueError):
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        try:
            while line := await reader.readline():
                yield line.decode("utf-8", "replace").strip()
        finally:
            transport.close()


def _address(text: str) -> tuple[str, int]:
    try:
        return host_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _sensor(text: str) -> SimulatedSensor:
    index, kind, name = (*text.split(":", 2), "", "")[:3]
    names = {item.name.lower(): item for item in SensorType}
    if not index.isdecimal() or kind not in names or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not INDEX:TYPE:NAME with a type of {', '.join(names)}")
    return SimulatedSensor(int(index), name, names[kind])


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError
    return count


_say = partial(print, flush=True)
