"""The bare relay that the bridge is measured beside, in a process of its own: `-m bench.relay BROKER RECEIVER STORE`.

It does the least that loses nothing: aiomqtt, one SQLite commit (WAL, synchronous=FULL), one TCP exchange on a
connection of its own, one alarm after the other, whoever's it is; no checks, no retries, and of results it tells no
more than that one is through.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import sys

import aiomqtt
from bench.kit import ALARM


def opened(store: str) -> sqlite3.Connection:
    db = sqlite3.connect(store, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, payload TEXT)")
    return db


async def exchange(receiver: int, request: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver)
    writer.write(request.encode("iso-8859-1"))
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def relay(broker: int, receiver: int, store: str) -> None:
    db, options = opened(store), [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    version = aiomqtt.ProtocolVersion.V5
    async with aiomqtt.Client("127.0.0.1", broker, protocol=version, socket_options=options) as client:
        await client.subscribe("relay/+/raise", qos=1)
        await client.publish("relay/state", "online", qos=1, retain=True)
        async for message in client.messages:
            alarm = json.loads(bytes(message.payload))
            db.execute("INSERT INTO message (payload) VALUES (?)", (json.dumps(alarm),))
            code = message.topic.value.split("/")[1]
            answer = await exchange(receiver, ALARM.format(code=code, reference=alarm["reference"]))
            await client.publish("relay/done", str(len(answer)), qos=1)


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
