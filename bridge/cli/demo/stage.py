"""The parts of the demo: a broker, two receivers, a panel, the bridge and an MQTT client."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from bridge.app.bridge import Bridge
from bridge.cli.common import say
from bridge.common.errors import BridgeError, ConfigError
from bridge.config.settings import Settings
from bridge.g90.simulator import PanelSimulator, SimulatedSensor
from bridge.g90.wire.constants import SensorType
from bridge.mqtt.client import Broker, Message, make_client
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Receiver
from bridge.store.database import Store
from bridge.store.sqlite.database import SqliteStore

HOST = "127.0.0.1"
CODE = "DEMO001"
GUID = "GBDEMO000000001"
DOOR, SMOKE = 7, 9
_PASSWORD = "demo-password-1"  # noqa: S105 - of the simulated receivers only
_SHUTDOWN_S = 2.0
_WAIT_S = 20.0
_NOISE = ("/health", "/record", "/info")
"""What changes by itself, or says more than can be read."""


class Failed(BridgeError):  # noqa: N818 - not an error of the bridge
    """A step of the demo did not work."""


class Stage:
    """All parts; they run within `running`."""

    def __init__(self, folder: Path, port: int) -> None:
        drawn, primary, secondary, cloud, local = _free_ports(5)
        self.port = port or drawn
        self._follows = False
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._database = folder / "demo.db"
        accounts = Accounts({CODE: _PASSWORD})
        self.primary = Receiver(accounts, HOST, primary, on_arrival=partial(self._arrived, "primary"))
        self.secondary = Receiver(accounts, HOST, secondary, on_arrival=partial(self._arrived, "secondary"))
        self._cloud, self._local = (HOST, cloud), (HOST, local)
        sensors = [SimulatedSensor(SMOKE, "Kitchen smoke", SensorType.SMOKE), SimulatedSensor(DOOR, "Front door")]
        self.panel = PanelSimulator(GUID, cloud=self._cloud, local=self._local, sensors=sensors)
        self._seen: dict[str, list[bytes]] = {}
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start and connect all parts; stop them in reverse order."""
        async with (
            _broker(self.port),
            self.primary,
            self.secondary,
            self._answering(),
            await SqliteStore.open(self._database) as store,
            self._bridge(store),
            self._connected(),
        ):
            await self.see("sosbridge/bridge/state", lambda payload: payload == "online")
            self.panel.rejoin()
            await self._panel_connected()
            yield

    async def publish(self, topic: str, payload: str) -> None:
        await self._client.publish(topic, payload, qos=1)

    async def _panel_connected(self) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                await self.panel.answered.wait()
        except TimeoutError:
            raise Failed(f"the panel did not connect within {_WAIT_S:.0f} s") from None

    def forget(self) -> None:
        """Have `see` look at later messages only."""
        self._seen.clear()

    async def see(self, topic: str, wanted: Callable[[Any], bool], *, newest: bool = False) -> Any:  # noqa: ANN401 - JSON
        """Return a `wanted` message on `topic`; with `newest`, the newest has to be it. Raises Failed."""

        def found() -> Any:  # noqa: ANN401
            messages = self._seen.get(topic, [])
            values = map(_value, reversed(messages[-1:] if newest else messages))
            return next((value for value in values if wanted(value)), None)

        try:
            async with asyncio.timeout(_WAIT_S):
                while found() is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Failed(f"no matching message on {topic} within {_WAIT_S:.0f} s") from None
        return found()

    async def arrived(self, receiver: Receiver, name: str, wanted: Callable[[Arrival], bool]) -> Arrival:
        """Wait for an alarm at `receiver` that is `wanted`. Raises Failed."""
        try:
            arrivals = await receiver.wait_for(wanted, timeout=_WAIT_S)
        except TimeoutError:
            raise Failed(f"alarm {name} did not reach the receiver within {_WAIT_S:.0f} s") from None
        return next(filter(wanted, arrivals))

    async def follow(self) -> AsyncIterator[str]:
        """Show all messages and arrivals from now on; yield the commands on `demo/panel`."""
        await self.secondary.start()
        self._follows = True
        await self._panel_connected()
        while True:
            yield await self._lines.get()

    def _arrived(self, name: str, arrival: Arrival) -> None:
        if self._follows:
            document = "" if arrival.kind == "ping" else f":\n{arrival.masked}"
            say(f"\nat the {name} receiver: {arrival.kind}, answered {arrival.status}{document}")

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Have the panel answer before the bridge asks, and connect once it listens."""
        self.panel.cut()
        panel = asyncio.create_task(self.panel.run())
        try:
            await self.panel.listening.wait()
            yield
        finally:
            panel.cancel()
            await asyncio.wait((panel,))

    @asynccontextmanager
    async def _bridge(self, store: Store) -> AsyncIterator[None]:
        stop = asyncio.Event()
        running = asyncio.create_task(Bridge(self._settings(), store).run(stop))
        try:
            yield
        finally:
            stop.set()
            await running

    def _settings(self) -> Settings:
        transmitter = {
            "name": "home",
            "transmitter_code": CODE,
            "transmitter_type": "SV300",
            "authentication": _PASSWORD,
            "receiver_id": "DEMO",
            "receiver": f"{HOST}:{self.primary.address[1]}",
            "secondary_receiver": f"{HOST}:{self.secondary.address[1]}",
            "heartbeat": "180s",
            "undelivered_after": "0.3s",  # so that the show does not wait
            "alarms": [{"key": "burglary", "name": "Burglary", "event_code": "BA", "section": "1"}],
        }
        panel = {"guid": GUID, "name": "House", "control": "local", "host": "{}:{}".format(*self._local)}
        rule = {"event": "alarm", "sensor_type": "smoke", "transmitter": "home", "event_code": "FA"}
        return Settings.model_validate(
            {
                # The embedded broker supports MQTT 3.1.1 only.
                "mqtt": {"host": HOST, "port": self.port, "protocol": "3.1.1"},
                "store": {"path": self._database},
                "transmitters": [transmitter],
                "g90": {"listen": "{}:{}".format(*self._cloud), "panels": [panel]},
                "forward": [{**rule, "panel": GUID, "restore_on": "disarmed"}],
            }
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        broker = Broker(HOST, self.port, protocol="3.1.1", client_id="sosbridge-demo", session_expiry_s=0)
        self._client = make_client(broker, self._received, context=None, status_topic=None)
        async with self._client.connection():
            for topics in ("sosbridge/#", "demo/panel"):
                await self._client.subscribe(topics, qos=0)
            yield

    def _received(self, message: Message) -> None:
        payload = bytes(message.payload)
        if message.topic == "demo/panel":
            self._lines.put_nowait(payload.decode("utf-8", "replace"))
        elif self._follows:
            if not message.topic.endswith(_NOISE):
                say(f"← {message.topic} {payload.decode('utf-8', 'replace')}")
        else:
            self._seen.setdefault(message.topic, []).append(payload)
            self._changed.set()


@asynccontextmanager
async def _broker(port: int) -> AsyncIterator[None]:
    try:
        from amqtt.broker import Broker as EmbeddedBroker  # noqa: PLC0415 - of the extra `demo`
        from amqtt.errors import BrokerError  # noqa: PLC0415
    except ImportError:
        raise ConfigError("the demo needs its own broker; install it: pip install 'sosbridge[demo]'") from None
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = EmbeddedBroker(config)
    try:
        await broker.start()
    except (BrokerError, OSError) as error:
        raise BridgeError(f"the demo's broker cannot listen on port {port}: {error}") from None
    try:
        yield
    finally:
        # From Python 3.12 on it may wait without end for a connection that broke while it was accepted.
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHUTDOWN_S):
                await broker.shutdown()


def _free_ports(count: int) -> list[int]:
    """Return free ports that the system gives to no connection that goes out, and that so stay free."""
    found: list[int] = []
    with ExitStack() as probes:
        while len(found) < count:
            port = 20_000 + secrets.randbelow(12_000)
            with suppress(OSError):  # also for a port that is among those found
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    probes.enter_context(socket.socket(type=kind)).bind((HOST, port))
                found.append(port)
    return found


def _value(payload: bytes) -> Any:  # noqa: ANN401 - JSON, or the text itself
    text = payload.decode()
    try:
        return json.loads(text)
    except ValueError:
        return text
