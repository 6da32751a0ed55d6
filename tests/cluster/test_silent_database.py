"""A database that is there and answers nothing: what it does not end, the owner ends itself."""

from __future__ import annotations

import os
import signal

from support.harness import live
from support.nodes import Nodes


@live
async def test_the_owner_does_not_wait_for_ever(site: Nodes) -> None:
    node = await site.owner("a")
    await site.checked()
    [pid] = site.sessions("a")
    [own] = [row["pid"] for row in site.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'sosbridge a'")]
    log = len(node.log)
    for each in (pid, own):
        os.kill(each, signal.SIGSTOP)
    try:
        await node.logs("shard 0 is lost: the database does not answer", after=log)
        await site.send("alarm/raise", {"event_code": "BA", "reference": "meanwhile"})
    finally:
        for each in (pid, own):
            os.kill(each, signal.SIGCONT)
    assert (await site.result())["reference"] == "meanwhile"
    assert [each.reference for each in site.received()] == ["meanwhile"]
