"""Nodes that gave the shard up for want of the broker leave it to others, but not to nobody."""

from __future__ import annotations

from support.brokers import Proxy
from support.harness import live
from support.nodes import Nodes


@live
async def test_two_nodes_that_gave_the_shard_up(site: Nodes) -> None:
    """Either would leave it to the other for a minute; when it is free, one of them takes it within seconds."""
    proxies = {}
    for name in ("a", "b"):
        proxies[name] = await site.stack.enter_async_context(Proxy(site.broker.port))
        site.ports[name] = proxies[name].port
    first = await site.owner("a")
    second = await site.standby("b")
    await proxies["a"].cut()
    await second.logs("node b owns shard 0")
    await proxies["a"].open()
    await site.until(lambda: len(site.sql("SELECT 1 FROM sosbridge.node WHERE broker")) == 2)
    log = len(first.log)
    await proxies["b"].cut()
    await first.logs("node a owns shard 0", after=log)
    await proxies["b"].open()
    await site.until(lambda: len(site.sql("SELECT 1 FROM sosbridge.node WHERE broker")) == 2)
    [lost] = site.sessions("a")
    site.sql("SELECT pg_terminate_backend(%s)", lost)
    await site.until(lambda: {*site.sessions("a"), *site.sessions("b")} - {lost} != set())
