"""The parts of the demo: a broker, two receivers, a panel, the bridge with its store, and an MQTT client."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bridge.app.bridge import Bridge
from bridge.cli.demo.panel import DemoPanel
from bridge.common.errors import BridgeError, ConfigError
from bridge.config.settings import Settings
from bridge.mqtt.client import Broker, Client, Message, make_client
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Receiver
from bridge.store.database import Store

HOST = "127.0.0.1"
CODE = "DEMO001"
_PASSWORD = "demo-password-1"  # noqa: S105 - of the simulated receivers only
_WAIT_S = 20.0


class Missing(BridgeError):  # noqa: N818 - named after the missing message
    """A message did not come in time."""


class Stage:
    """Starts and connects all parts; stops them in reverse order."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.show_arrivals = False
        self._stack = AsyncExitStack()
        accounts = Accounts({CODE: _PASSWORD})
        self.primary = Receiver(accounts, HOST, free_port(), on_arrival=self._arrived)
        self.secondary = Receiver(accounts, HOST, free_port(), on_arrival=self._arrived)
        self.panel = DemoPanel((HOST, free_port()), (HOST, free_port()))
        self._seen: dict[str, list[bytes]] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(_broker(self.port))
            for receiver in (self.primary, self.secondary):
                await self._stack.enter_async_context(receiver)
            store = await self._stack.enter_async_context(await Store.open(self.folder / "demo.db"))
            await self._stack.enter_async_context(self._bridge(store))
            self.client = await self._stack.enter_async_context(self._watcher())
            await self.see("sosbridge/bridge/state", lambda payload: payload == "online")
            await self._stack.enter_async_context(self.panel.living())
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def publish(self, topic: str, payload: str) -> None:
        await self.client.publish(topic, payload, qos=1)

    async def see(self, topic: str, wanted: Callable[[Any], bool], *, newest: bool = False) -> Any:  # noqa: ANN401 - JSON
        """Wait for a message on `topic` that is `wanted`, or for the newest to be, and return it. Raises Missing."""

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
            raise Missing(f"no matching message on {topic} within {_WAIT_S:.0f} s") from None
        return found()

    async def arrival(self, receiver: Receiver, reference: str) -> Arrival:
        """Wait for the alarm with `reference` at `receiver`. Raises Missing."""
        return await self.arrived(receiver, reference, lambda each: _reference(each) == reference)

    async def arrived(self, receiver: Receiver, name: str, wanted: Callable[[Arrival], bool]) -> Arrival:
        """Wait for an alarm at `receiver` that is `wanted`. Raises Missing."""
        try:
            arrivals = await receiver.wait_for(wanted, timeout=_WAIT_S)
        except TimeoutError:
            raise Missing(f"alarm {name} did not reach the receiver within {_WAIT_S:.0f} s") from None
        return next(filter(wanted, arrivals))

    def _arrived(self, arrival: Arrival) -> None:
        if self.show_arrivals and arrival.kind != "ping":
            print(f"\nat the receiver, answered {arrival.status}:\n{arrival.masked}", flush=True)

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
            "alarms": [{"key": "burglary", "name": "Burglary", "event_code": "BA", "section": "1"}],
        }
        return Settings.model_validate(
            {
                # The embedded broker supports MQTT 3.1.1 only.
                "mqtt": {"host": HOST, "port": self.port, "protocol": "3.1.1"},
                "store": {"path": self.folder / "demo.db"},
                "transmitters": [transmitter],
                **self.panel.settings,
            }
        )

    @asynccontextmanager
    async def _watcher(self) -> AsyncIterator[Client]:
        broker = Broker(HOST, self.port, protocol="3.1.1", client_id="sosbridge-demo", session_expiry_s=0)
        client = make_client(broker, self._received, context=None, status_topic=None)
        async with client.connection():
            await client.subscribe("sosbridge/#", qos=0)
            yield client

    def _received(self, message: Message) -> None:
        self._seen.setdefault(message.topic, []).append(bytes(message.payload))
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
        await broker.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _value(payload: bytes) -> Any:  # noqa: ANN401 - JSON, or the text itself
    text = payload.decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def _reference(arrival: Arrival) -> str | None:
    return arrival.request.reference if arrival.request else None
