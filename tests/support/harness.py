"""All that a test of the whole needs: a broker, two receivers, the bridge's process, a client that records."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from support.brokers import Mosquitto, Proxy, free_port
from support.processes import Bridge
from support.recorder import WAIT_S, Recorder, Seen, retained

from bridge.common.models import Secret
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Fault, Receiver

CODE = "IK00001"
PASSWORD = "firstpassword15"
TEST_ENDS_WITHIN_S = 150.0


class Station(Receiver):
    """A receiver that lets a test act at the moment before and after a request is treated."""

    on_request: Callable[[bytes], bool] | None = None
    """Asked before; where it says yes, the request is not treated."""
    on_treated: Callable[[Arrival], None] | None = None
    checks = False
    """Whether the next ping is the check that a start of the bridge begins with: no fault meets it, no test sees it."""
    _check: Arrival | None = None

    def _fault_of(self, raw: bytes) -> Fault:
        return Fault() if self.checks and b"<pingrequest>" in raw else super()._fault_of(raw)

    def _decide(self, raw: bytes, fault: Fault, peer: str) -> tuple[Arrival, bytes]:
        if self.on_request is not None and self.on_request(raw):
            fault = Fault(drop=True)
        arrival, answer = super()._decide(raw, fault, peer)
        if self.checks and arrival.kind == "ping":
            self.checks, self._check = False, arrival
            return arrival, answer
        if self.on_treated is not None:
            self.on_treated(arrival)
        return arrival, answer

    async def _note(self, arrival: Arrival) -> None:
        if arrival is not self._check:
            await super()._note(arrival)


class Site:
    """One bridge and what is around it. `settings` are written to its file at each start; `home` is a transmitter."""

    def __init__(self, broker: Mosquitto, folder: Path, base: str) -> None:
        self.broker = broker
        self.folder = folder
        self.base = base
        self.store = folder / "bridge.db"
        self.mqtt = Recorder(broker.port, base)
        self.passwords = {PASSWORD}
        self.accounts = Accounts({CODE: PASSWORD})
        # A receiver that listens again finds its port free.
        self.primary, self.secondary = (
            Station(self.accounts, port=free_port(), ping_interval_min=0, on_arrival=self._arrived) for _ in range(2)
        )
        self.arrivals: list[Arrival] = []
        self.bridge = Bridge(folder / "bridge.toml", folder / "bridge.log")
        self.settings: dict[str, Any] = {}
        self.stack = AsyncExitStack()
        """For what a test needs beside: it is closed at its end."""

    async def __aenter__(self) -> Self:
        for part in (self.primary, self.secondary):
            await self.stack.enter_async_context(part)
        self.settings = {
            "mqtt": {"host": "127.0.0.1", "port": self.broker.port, "base_topic": self.base},
            "store": {"path": str(self.store)},
            "log": {"level": "debug"},
            "transmitters": [self.transmitter("home", CODE)],
        }
        self.home["alarms"] = [
            {"key": "burglary", "name": "Burglary", "event_code": "BA", "section": "1", "section_text": "House"},
            {"key": "fire", "name": "Fire", "event_code": "FA", "restore_event_code": "FR"},
        ]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.bridge.kill()
        await self.stack.aclose()
        if kind is None:
            self._check()
        else:
            print(self.bridge.log[-20_000:])

    def _arrived(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        if arrival.request is not None:
            self.passwords.add(arrival.request.authentication.reveal())

    def _check(self) -> None:
        """What is true of every run: nothing was unforeseen, and no password got out."""
        log = self.bridge.log
        assert "Traceback" not in log, log
        assert "never retrieved" not in log, log
        assert "Warning:" not in log, log
        for password in self.passwords:
            assert password not in log
            assert not [seen for seen in self.mqtt.seen if password in seen.payload]

    def transmitter(self, name: str, code: str) -> dict[str, Any]:
        """Return a transmitter's table at the two receivers."""
        return {
            "name": name,
            "transmitter_code": code,
            "transmitter_type": "SV300",
            "authentication": PASSWORD,
            "receiver_id": "ALARM-OPER",
            "receiver": f"127.0.0.1:{self.primary.address[1]}",
            "secondary_receiver": f"127.0.0.1:{self.secondary.address[1]}",
        }

    @property
    def home(self) -> dict[str, Any]:
        table: dict[str, Any] = self.settings["transmitters"][0]
        return table

    # The bridge

    def launch(self) -> None:
        """Start the bridge and wait for nothing."""
        for station in (self.primary, self.secondary):
            station.checks = "heartbeat" not in self.home
        self.bridge.config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in self.settings.items()))
        self.bridge.start()

    async def start(self) -> None:
        """Start the bridge and wait until it is online."""
        await self.listen()
        mark = self.mqtt.mark
        self.launch()
        await self.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)

    async def checked(self) -> None:
        """Wait until the bridge has checked both receivers, as it does after a start."""
        async with asyncio.timeout(WAIT_S):
            while self.primary.checks or self.secondary.checks:  # noqa: ASYNC110 - no event is set for it
                await asyncio.sleep(0.05)

    async def listen(self) -> None:
        """Record from now on, before the bridge is started."""
        if not self.mqtt.connected.is_set():
            await self.stack.enter_async_context(self.mqtt)

    async def behind_proxy(self) -> Proxy:
        """Put a proxy between the bridge and its broker."""
        proxy = await self.stack.enter_async_context(Proxy(self.broker.port))
        self.settings["mqtt"]["port"] = proxy.port
        return proxy

    async def restart(self) -> None:
        """Kill the bridge and start it again."""
        self.bridge.kill()
        await self.start()

    async def retained(self) -> dict[str, str]:
        """Return what the broker holds below the base topic."""
        return await retained(self.broker.port, self.base)

    async def becomes(self, topic: str, payload: str) -> None:
        """Wait until the broker holds `payload`, for where nobody could listen from the beginning."""
        async with asyncio.timeout(WAIT_S):
            while (await self.retained()).get(topic) != payload:  # noqa: ASYNC110 - the broker is asked anew
                await asyncio.sleep(0.05)

    # Commands

    async def send(self, leaf: str, payload: object = "", **options: Any) -> None:  # noqa: ANN401 - as publish has them
        """Publish a command of the transmitter `home`; what is no text becomes JSON."""
        text = payload if isinstance(payload, str | bytes) else json.dumps(payload)
        await self.mqtt.publish(f"transmitter/home/{leaf}", text, **options)

    async def result(
        self,
        wanted: Callable[[Any], bool] = lambda _: True,
        *,
        kind: str = "alarm",
        after: int = 0,
        within: float = WAIT_S,
    ) -> dict[str, Any]:
        """Return the first result that fits."""
        seen = await self.mqtt.wait(f"transmitter/home/{kind}/response", wanted, after=after, within=within)
        assert seen.retain
        value: dict[str, Any] = seen.value
        return value

    async def do(self, leaf: str, payload: object = "", **options: Any) -> dict[str, Any]:  # noqa: ANN401
        """Publish a command and return its result, not one that a killed bridge tells once more."""
        begun = datetime.now().astimezone() - timedelta(milliseconds=1)

        def ours(value: dict[str, Any]) -> bool:  # a heartbeat's result has no such time
            return "accepted_at" in value and datetime.fromisoformat(value["accepted_at"]) >= begun

        await self.send(leaf, payload, **options)
        return await self.result(ours, kind=leaf.split("/", 1)[0])

    def event(self, kind: str, after: int = 0) -> Awaitable[Seen]:
        """Return the first `bridge/event` of a type."""
        return self.mqtt.wait("bridge/event", lambda value: value["type"] == kind, after=after)

    def received(self, kind: str = "alarm") -> list[Any]:
        """Return the requests that a receiver has accepted as new, in order."""
        return [each.request for each in self.arrivals if each.kind == kind and each.status == 0]

    def set_password(self, password: str, code: str = CODE) -> None:
        """Change the password at the operator."""
        account = self.accounts.account(code)
        assert account is not None
        account.current, account.pending = Secret(password), None


def live(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an `async def` test within its `site`."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - pytest's fixtures
        async def whole() -> None:
            async with asyncio.timeout(TEST_ENDS_WITHIN_S), kwargs["site"]:
                await test(*args, **kwargs)

        asyncio.run(whole())

    return run


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)
