"""The rows of `sosbridge check` about the database and the other nodes of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from bridge.cli.findings import Finding
from bridge.common.errors import BridgeError
from bridge.common.models import Secret
from bridge.config.settings import Settings
from bridge.config.shards import digest


async def rows(settings: Settings, url: Secret) -> AsyncIterator[Finding]:
    """Look at the database, then at the cluster, if there is one yet."""
    from bridge.store.postgres.asking import look, waiting  # noqa: PLC0415 - an extra
    from bridge.store.postgres.status import survey  # noqa: PLC0415 - an extra

    try:
        found = await asyncio.to_thread(survey, url)
        shards, cluster = await look(url) if found.is_used else (0, None)
        waits = await waiting(url) if found.is_used else {}
    except BridgeError as error:
        yield "database", "FAILED", str(error)
        return
    yield "database", "ok", f"PostgreSQL {found.version}{'' if found.is_used else ', new to sosbridge'}"
    for fault in found.faults:
        yield "database", "FAILED", fault
    for warning in found.warnings:
        yield "database", "warning", warning
    if shards not in (0, settings.store.shards):
        words = f"store.shards is {settings.store.shards}, but this database has {shards} shards; use that number"
        yield "cluster", "FAILED", words
    ours = digest(settings)
    for node in cluster.others(settings.node.name) if cluster else ():
        if node.alive and node.digest != ours:
            yield "cluster", "FAILED", f"node {node.name} runs with another configuration; make them the same"
    for shard, count in sorted(waits.items()):
        words = f"shard {shard}: alarms of panels that wait for its owner: {count}"
        yield "cluster", "warning" if cluster and shard in cluster.owners else "FAILED", words
