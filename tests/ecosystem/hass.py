"""A real Home Assistant on loopback, asked and commanded over its websocket."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ecosystem.seed import Seeded, seed
from support.brokers import free_port
from websockets.asyncio.client import ClientConnection, connect

STARTS_WITHIN_S = 240.0
WAIT_S = 60.0
State = dict[str, Any]
_RECORD = re.compile(r"^\d{4}-\d\d-\d\d \S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
_LOST = ("[homeassistant.components.mqtt.client]", "[paho.mqtt.client]", "client is not currently connected")
_OF_INTEREST = ("mqtt", "homeassistant.helpers.template", "homeassistant.helpers.entity", "automation", "blueprint")


class HomeAssistant:
    """One Home Assistant with a configuration of its own, in the release that the setting HASS starts.

    HASS_ROOT is the root of its file system, where HASS is a `chroot` command.
    """

    def __init__(self, mqtt_port: int, extra: str = "") -> None:
        self.command = shlex.split(os.environ["HASS"])
        root = Path(os.environ.get("HASS_ROOT", "/"))
        self.folder = Path(tempfile.mkdtemp(prefix="hass-", dir=root / "tmp"))
        self._inside = Path("/") / self.folder.relative_to(root)
        version = subprocess.run([*self.command, "--version"], capture_output=True, text=True, check=True, timeout=60)
        self.version = version.stdout.strip()
        self.port = free_port()
        self.login: Seeded = seed(self.folder, self.port, mqtt_port, int(self.version.split(".")[0]), extra)
        self.fired: list[State] = []
        """The states that event entities have got by firing, in order."""
        self._moments: set[tuple[str, str]] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._states: dict[str, State] = {}
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.stop()
        if kind is not None:
            print(self.log[-8000:])
        shutil.rmtree(self.folder)

    async def start(self) -> None:
        """Start it and wait until it runs and all that is discovered is set up."""
        arguments = ["--config", str(self._inside), "--log-no-color", "--skip-pip"]
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        environment |= {"HOME": str(self._inside), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        self._launch([*self.command, *arguments], environment)
        async with asyncio.timeout(STARTS_WITHIN_S):
            while not await self._connected():
                assert self._runs, f"Home Assistant has ended: {self.log[-4000:]}"
                await asyncio.sleep(0.3)
            while (await self.ask("get_config"))["state"] != "RUNNING":  # noqa: ASYNC110 - it is asked anew
                await asyncio.sleep(0.2)

    def _launch(self, command: list[str], environment: dict[str, str]) -> None:
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    @property
    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def _connected(self) -> bool:
        try:
            self._socket = await connect(f"ws://127.0.0.1:{self.port}/api/websocket", max_size=None)
        except OSError:
            return False
        await self._socket.recv()
        await self._socket.send(json.dumps({"type": "auth", "access_token": self.login.tests.access}))
        assert json.loads(await self._socket.recv())["type"] == "auth_ok"
        self._answers.clear()
        self._reader = asyncio.create_task(self._read(self._socket))
        await self.ask("subscribe_events", event_type="state_changed")
        for state in await self.ask("get_states"):
            self._note(state)
        return True

    async def stop(self) -> None:
        """Stop it as systemd does."""
        assert self._process is not None
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        if self._socket is not None:
            await self._socket.close()
        self._process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self._process.wait, WAIT_S)

    async def restart(self) -> None:
        await self.stop()
        self._states.clear()
        await self.start()

    async def ask(self, kind: str, **more: object) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Send one message and return its result. Raises AssertionError with what Home Assistant says is wrong."""
        assert self._socket is not None
        number = max(self._answers, default=0) + 1
        self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "type": kind, **more}))
        async with asyncio.timeout(WAIT_S):
            answer = await self._answers[number]
        assert answer["success"], answer["error"]
        return answer["result"]

    async def call(self, service: str, entity: str, **data: object) -> None:
        """Call a service on one entity."""
        domain, _, name = service.partition(".")
        target = {"entity_id": entity}
        await self.ask("call_service", domain=domain, service=name, service_data=data, target=target)

    async def entities(self) -> dict[str, State]:
        """Return what the registry holds of MQTT's entities, by entity id."""
        found = await self.ask("config/entity_registry/list")
        return {each["entity_id"]: each for each in found if each["platform"] == "mqtt"}

    async def devices(self) -> dict[str, State]:
        """Return MQTT's devices by identifier."""
        found = await self.ask("config/device_registry/list")
        return {key: each for each in found for domain, key in each["identifiers"] if domain == "mqtt"}

    def state(self, entity: str) -> str | None:
        return self._states[entity]["state"] if entity in self._states else None

    def attributes(self, entity: str) -> dict[str, Any]:
        found: dict[str, Any] = self._states[entity]["attributes"]
        return found

    async def until(self, fits: Callable[[], bool], what: str) -> None:
        """Wait until `fits`; asked at each change of a state."""
        try:
            async with asyncio.timeout(WAIT_S), self._changed:
                await self._changed.wait_for(fits)
        except TimeoutError:
            problems = "\n".join(self.problems())
            states = "\n".join(f"{name}: {state}" for name, state in sorted(self.ours.items()))
            raise AssertionError(f"waited in vain until {what}\n{problems}\n{states}") from None

    async def becomes(self, entity: str, *wanted: str) -> None:
        """Wait until an entity has one of the states `wanted`; none: until it is no more."""
        fits = (lambda: self.state(entity) in wanted) if wanted else (lambda: entity not in self._states)
        await self.until(fits, f"{entity} is {' or '.join(wanted) or 'gone'}")

    @property
    def ours(self) -> dict[str, str]:
        """The states of all that is ours."""
        return {name: each["state"] for name, each in self._states.items() if ".sosbridge" in name}

    @property
    def log(self) -> str:
        files = (self.folder / name for name in ("home-assistant.log", "output.log"))
        return next((text for file in files if file.exists() and (text := file.read_text(errors="replace"))), "")

    def problems(self) -> list[str]:
        """Return what its log warns of that can be our fault: not that it has lost its broker.

        A payload that fits no state is told as information.
        """
        found: list[str] = []
        for line in self.log.splitlines():
            record = _RECORD.match(line)
            if record is None and found:
                found[-1] += f"\n{line}"
            elif record and any(name in line for name in _OF_INTEREST):
                found.append(line)
        found = [each for each in found if " INFO " not in each[:40] or "No matching payload" in each]
        return [each for each in found if not any(lost in each for lost in _LOST)]

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "result":
                self._answers[message["id"]].set_result(message)
            elif message["type"] == "event":
                await self._take(message["event"]["data"])

    async def _take(self, change: dict[str, Any]) -> None:
        if change["new_state"] is None:
            self._states.pop(change["entity_id"], None)
        else:
            self._note(change["new_state"])
        async with self._changed:
            self._changed.notify_all()

    def _note(self, state: State) -> None:
        """Keep a state. An event entity's is the moment when it fired last: a new one is an event."""
        name, moment = state["entity_id"], state["state"]
        self._states[name] = state
        fired = name.startswith("event.") and moment not in ("unknown", "unavailable")
        if fired and (name, moment) not in self._moments:
            self._moments.add((name, moment))
            self.fired.append(state)
