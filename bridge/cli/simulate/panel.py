"""`sosbridge simulate panel`: a simulated G90 panel, controlled by options or standard input."""

from __future__ import annotations

import argparse
import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from bridge.cli.arguments import count, number, seconds
from bridge.cli.common import say
from bridge.common.errors import BridgeError, ConfigError
from bridge.common.stop import stop_signals
from bridge.common.text import clean
from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.constants import (
    REMOTE_BUTTONS,
    ArmCode,
    SensorCode,
    SensorType,
    Source,
    StateCode,
)

_CONNECT_S: Final = 30.0
"""How long --do waits for the server's first answer."""
_LAST_INDEX: Final = 255
"""A status change has one byte for the sensor index (bridge/g90/PROTOCOL.md, Status change)."""
_Act = Callable[..., Awaitable[None]]
_Entry = tuple[tuple[Callable[[str], Any], ...], _Act]
"""How to parse the arguments of a command, and what to do with the simulator and their values."""


def relay(text: str) -> SimulatedSensor:
    index, _, name = text.partition(":")
    if not name:
        raise argparse.ArgumentTypeError(f"{clean(text, 60)!r} is not N:NAME")
    return SimulatedSensor(_index(index), name)


async def run(args: argparse.Namespace) -> int:
    """Simulate a panel until `quit`, SIGINT or SIGTERM; return the exit status."""
    simulator = PanelSimulator(
        args.guid,
        cloud=args.cloud,
        local=args.local,
        sensors=args.sensor,
        relays=args.relay,
        interval=args.interval,
        chop=args.chop,
        glue=args.glue,
    )
    for line in args.do:
        _parse(line)
    with stop_signals() as stop:
        tasks = [
            asyncio.create_task(simulator.run()),
            asyncio.create_task(_play(simulator, args.do)),
            asyncio.create_task(_until(stop)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return max(task.result() or 0 for task in done)
        except* OSError as errors:
            raise ConfigError(f"cannot run the simulated panel: {errors.exceptions[0]}") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()


async def _play(simulator: PanelSimulator, script: list[str]) -> int:
    """Run the commands of `script`, without a script those of standard input; return the exit status."""
    try:
        async with asyncio.timeout(_CONNECT_S if script else None):
            await simulator.answered.wait()
    except TimeoutError:
        host, port = simulator.cloud or ("", 0)
        say(f"no answer from {host}:{port} within {_CONNECT_S:g} s")
        return 1
    say(f"panel {simulator.guid} is connected")
    for line in script:
        await do(simulator, line)
    if script:
        return 0
    async for line in _lines():
        if line == "quit":
            return 0
        try:
            await do(simulator, line)
        except BridgeError as error:
            say(str(error))
    await asyncio.Event().wait()
    return 0


async def do(simulator: PanelSimulator, line: str) -> None:
    """Carry out a command such as `alarm 9`. Raises ConfigError."""
    act, values = _parse(line)
    try:
        await act(simulator, *values)
    except ConnectionError as error:
        raise ConfigError(f"{line}: {error}") from error
    say(f"done: {line}")


def _parse(line: str) -> tuple[_Act, list[Any]]:
    """Return what a command does and the values of its arguments; raise `ConfigError` if it is invalid."""
    word, *texts = line.split() or [""]
    if word not in _ACTS:
        known = ", ".join(sorted(_ACTS))
        raise ConfigError(f"unknown command {clean(line, 60)!r}; known commands: {known}, quit")
    types, act = _ACTS[word]
    if len(texts) != len(types):
        expected = f"{len(types)} argument{'' if len(types) == 1 else 's'}"
        raise ConfigError(f"{word}: expected {expected}, got {len(texts)}")
    try:
        return act, [parse(text) for parse, text in zip(types, texts, strict=True)]
    except argparse.ArgumentTypeError as error:
        raise ConfigError(f"{word}: {error}") from None


_index = partial(number, least=0, most=_LAST_INDEX)


def _button(text: str) -> int:
    codes = {name: code for code, name in REMOTE_BUTTONS.items()}
    if text not in codes:
        raise argparse.ArgumentTypeError(f"{clean(text, 40)!r} is not a button; known buttons: {', '.join(codes)}")
    return codes[text]


def _sets(name: str, parse: Callable[[str], Any]) -> _Entry:
    async def set_to(simulator: PanelSimulator, value: float) -> None:
        setattr(simulator, name, value)

    return (parse,), set_to


def _clock(text: str) -> float:
    return -seconds(text[1:]) if text.startswith("-") else seconds(text)


_ACTS: Final[dict[str, _Entry]] = {
    "arm-away": ((), lambda panel: panel.arm(ArmCode.ARMED_AWAY)),
    "arm-home": ((), lambda panel: panel.arm(ArmCode.ARMED_HOME)),
    "disarm": ((), lambda panel: panel.arm(ArmCode.DISARMED)),
    "sos": ((), PanelSimulator.sos),
    "power-lost": ((), lambda panel: panel.panel_state(StateCode.AC_POWER_LOST)),
    "power-back": ((), lambda panel: panel.panel_state(StateCode.AC_POWER_RESTORED)),
    "panel-battery-low": ((), lambda panel: panel.panel_state(StateCode.BATTERY_LOW)),
    "wifi-lost": ((), lambda panel: panel.panel_state(StateCode.WIFI_DISCONNECTED)),
    "wifi-back": ((), lambda panel: panel.panel_state(StateCode.WIFI_CONNECTED)),
    "open": ((_index,), lambda panel, index: panel.activity(index, SensorCode.OPEN)),
    "close": ((_index,), lambda panel, index: panel.activity(index, SensorCode.CLOSED)),
    "motion": ((_index,), lambda panel, index: panel.activity(index, 0, Source.INFRARED)),
    "battery-low": ((_index,), lambda panel, index: panel.activity(index, SensorCode.BATTERY_LOW)),
    "ring": ((_index,), lambda panel, index: panel.activity(index, 0, Source.DOORBELL)),
    "alarm": ((_index,), lambda panel, index: panel.alarm(index, SensorCode.ALARM)),
    "tamper": ((_index,), lambda panel, index: panel.alarm(index, SensorCode.TAMPER)),
    "button": ((_index, _button), lambda panel, index, code: panel.activity(index, code, Source.REMOTE)),
    "alarmed": ((), PanelSimulator.alarmed),
    "gap": ((seconds,), PanelSimulator.gap),
    "clock": _sets("clock", _clock),
    "slow": _sets("delay", seconds),
    "lose": _sets("lose", count),
    "truncate": _sets("truncate", count),
    "wait": ((seconds,), lambda _, pause: asyncio.sleep(pause)),
}


async def _lines() -> AsyncIterator[str]:
    """Read standard input without blocking the loop; a file is read at once."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if stat.S_ISCHR(mode) and not sys.stdin.isatty():
        return  # /dev/null, as in a container: the loop cannot wait for it
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


def sensor(text: str) -> SimulatedSensor:
    index, kind, name = (*text.split(":", 2), "", "")[:3]
    names = {item.name.lower(): item for item in SensorType}
    if kind not in names or not name:
        raise argparse.ArgumentTypeError(f"{clean(text, 60)!r} is not N:TYPE:NAME; known types: {', '.join(names)}")
    return SimulatedSensor(_index(index), name, names[kind])
