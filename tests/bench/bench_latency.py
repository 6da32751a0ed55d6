"""From publish to the XML at the receiver: the bridge beside a bare relay, on one machine, broker and receiver.

Run it: `python tests/bench/bench_latency.py [--count 200]`. Only the ratio means anything elsewhere. The relay does the
least that loses nothing: aiomqtt, one SQLite commit (WAL, synchronous=FULL), one TCP exchange; no checks, no retries.
Alarms go to the two in turn, each once the one before is through.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiomqtt

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from integration.brokers import Mosquitto  # noqa: E402 - found on the path of above
from integration.processes import Bridge  # noqa: E402

PASSWORD = "012345678912345"
GOAL = 1.5
WARM_UP = 20
BRIDGE_TOPIC = "bench/transmitter/home/alarm/raise"
BRIDGE_DONE = "bench/transmitter/home/alarm/response"
RELAY_TOPIC = "relay/raise"
RELAY_DONE = "relay/done"
ALARM = (
    '<?xml version="1.0" encoding="ISO-8859-1"?>\n<alarmrequest><reference>{}</reference>'
    f"<authentication>{PASSWORD}</authentication><receiver>ALARM-OPER</receiver>"
    "<transmittertime>2026-01-31 06:30:00.123</transmittertime><alarmtype>AL</alarmtype>"
    "<transmittertype>SV300</transmittertype><transmittercode>IK00001</transmittercode>"
    "<eventcode>BA</eventcode></alarmrequest>"
)
ANSWER = (
    b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<alarmresponse><status>0</status><info>OK</info>'
    b"<arrivaltime>2026-01-31 06:30:00.200</arrivaltime></alarmresponse>"
)


async def relay(broker: int, receiver: int, store: str) -> None:
    """Relay what is published to the receiver: the bare minimum, in a process of its own."""
    db = sqlite3.connect(store, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, payload TEXT)")
    async with aiomqtt.Client("127.0.0.1", broker, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(RELAY_TOPIC, qos=1)
        await client.publish(RELAY_DONE, "ready", qos=1, retain=True)
        async for message in client.messages:
            alarm = json.loads(bytes(message.payload))
            db.execute("INSERT INTO message (payload) VALUES (?)", (json.dumps(alarm),))
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver)
            writer.write(ALARM.format(alarm["reference"]).encode("iso-8859-1"))
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            await client.publish(RELAY_DONE, str(len(answer)), qos=1)


class Meter:
    """A receiver that notes when each alarm was whole, and who has told that it is through with it."""

    def __init__(self) -> None:
        self.arrived = 0.0
        self.port = 0
        self._whole = asyncio.Event()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"</alarmrequest>")
        self.arrived = time.perf_counter()
        self._whole.set()
        writer.write(ANSWER)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def latency(self, client: aiomqtt.Client, done: AsyncIterator[aiomqtt.Message], topic: str, n: int) -> float:
        """Publish alarm `n`, wait until it is through, and return what it took to the receiver, in seconds."""
        self._whole.clear()
        payload = json.dumps({"event_code": "BA", "reference": f"ref{n}"})
        began = time.perf_counter()
        await client.publish(topic, payload, qos=1)
        await self._whole.wait()
        await anext(done)
        await asyncio.sleep(0.01)  # what it does after it, such as marking the result, is not the next one's burden
        return self.arrived - began


async def measure(count: int, folder: Path, broker: Mosquitto) -> tuple[list[float], list[float]]:
    meter = Meter()
    async with meter.listening(), asyncio.timeout(60 + count):
        at_once = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        client = aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5, socket_options=at_once)
        async with client:
            with _processes(folder, broker.port, meter.port):
                done = client.messages
                await client.subscribe("bench/bridge/state", qos=1)
                await client.subscribe(RELAY_DONE, qos=1)
                ready: set[bytes] = set()
                while ready != {b"online", b"ready"}:
                    ready.add(bytes((await anext(done)).payload))
                await client.unsubscribe("bench/bridge/state")
                await client.subscribe(BRIDGE_DONE, qos=1)
                ours, bare = [], []
                for number in range(WARM_UP + count):
                    ours.append(await meter.latency(client, done, BRIDGE_TOPIC, number))
                    bare.append(await meter.latency(client, done, RELAY_TOPIC, number))
    return ours[WARM_UP:], bare[WARM_UP:]


@contextlib.contextmanager
def _processes(folder: Path, broker: int, receiver: int) -> Iterator[None]:
    config = folder / "bridge.toml"
    config.write_text(
        f'mqtt = {{host = "127.0.0.1", port = {broker}, base_topic = "bench"}}\n'
        f'store = {{path = "{folder}/bridge.db"}}\n'
        f'[[transmitters]]\nname = "home"\ntransmitter_code = "IK00001"\ntransmitter_type = "SV300"\n'
        f'authentication = "{PASSWORD}"\nreceiver_id = "ALARM-OPER"\n'
        f'receiver = "127.0.0.1:{receiver}"\nuse_single_receiver = true\n'
    )
    bridge = Bridge(config, folder / "bridge.log")
    command = [sys.executable, __file__, "--relay", str(broker), str(receiver), str(folder / "relay.db")]
    with subprocess.Popen(command) as bare:
        try:
            bridge.start()
            yield
        finally:
            bridge.kill()
            bare.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--relay", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.relay:
        broker, receiver, store = args.relay
        asyncio.run(relay(int(broker), int(receiver), store))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "broker").mkdir()
        # Without Nagle's algorithm, whose 40 ms would hide what the two take themselves.
        lines = ["allow_anonymous true", "set_tcp_nodelay true"]
        with Mosquitto(folder / "broker", general=lines) as broker:
            ours, bare = asyncio.run(measure(args.count, folder, broker))
    for title, found in (("the bridge", ours), ("a bare relay", bare)):
        worst = statistics.quantiles(found, n=100)[94]
        print(f"{title:12}: median {statistics.median(found) * 1000:.2f} ms, 95 of 100 below {worst * 1000:.2f} ms")
    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"ratio of the medians: {ratio:.2f} (goal: at most {GOAL})")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
