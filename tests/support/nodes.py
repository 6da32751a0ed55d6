"""Several nodes of one cluster: processes over one database, one broker and one pair of receivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.brokers import Mosquitto
from support.harness import Site, toml
from support.postgres import PostgresServer
from support.processes import Bridge
from support.recorder import WAIT_S

LEASE_S = 4.0


class Nodes(Site):
    """A site whose bridge is one of several nodes; `launch_node` starts one by its name."""

    def __init__(self, broker: Mosquitto, server: PostgresServer, database: str, folder: Path, base: str) -> None:
        super().__init__(broker, folder, base)
        self.server = server
        self.database = database
        self.nodes: dict[str, Bridge] = {}
        self.ports: dict[str, int] = {}
        """The broker's port by node, where it is not the broker's own."""

    async def __aexit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for each in self.nodes.values():
            each.kill()
            if kind is None:
                assert "Traceback" not in each.log, each.log
                assert "never retrieved" not in each.log, each.log
                for password in self.passwords:
                    assert password not in each.log
            else:
                print(f"--- {each.config.stem}\n{each.log[-20_000:]}")
        await super().__aexit__(kind, *rest)

    def node_settings(self, name: str) -> dict[str, Any]:
        store = self.settings["store"] | {
            "path": str(self.folder / f"{name}.db"), "url": self.server.url(self.database), "lease": f"{LEASE_S:g}s",
        }  # fmt: skip
        mqtt = self.settings["mqtt"] | {"port": self.ports.get(name, self.settings["mqtt"]["port"])}
        return self.settings | {"store": store, "node": {"name": name}, "mqtt": mqtt}

    def launch_node(self, name: str) -> Bridge:
        """Start a node and wait for nothing."""
        node = self.nodes.setdefault(name, Bridge(self.folder / f"{name}.toml", self.folder / f"{name}.log"))
        node.config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in self.node_settings(name).items()))
        node.start()
        return node

    async def owner(self, name: str) -> Bridge:
        """Start a node that becomes the owner, and wait until it is online."""
        await self.listen()
        mark = self.mqtt.mark
        for station in (self.primary, self.secondary):
            station.checks = "heartbeat" not in self.home
        node = self.launch_node(name)
        await self.mqtt.wait("bridge/state", lambda value: value == "online", after=mark)
        return node

    async def standby(self, name: str) -> Bridge:
        """Start a node that stands by, and wait until it does."""
        node = self.launch_node(name)
        await node.logs(f"node {name}: standby", after=len(node.log))
        await self.reaches_broker(name)
        return node

    async def reaches_broker(self, name: str) -> None:
        """Wait until a node has found out that it does."""
        await self.until(lambda: bool(self.sql("SELECT 1 FROM sosbridge.node WHERE broker AND name = %s", name)))

    async def until(self, holds: Callable[[], bool], within: float = WAIT_S) -> None:
        async with asyncio.timeout(within):
            while not holds():  # noqa: ASYNC110 - the database is asked anew
                await asyncio.sleep(0.05)

    def sql(self, sql: str, *values: object) -> list[dict[str, Any]]:
        with self.server.connect(self.database) as session:
            found = session.execute(sql.encode(), values)
            return found.fetchall() if found.description else []

    def sessions(self, name: str) -> list[int]:
        """Return the sessions of a node that own shards."""
        rows = self.sql("SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s", f"sosbridge {name} shard %")
        return [row["pid"] for row in rows]
