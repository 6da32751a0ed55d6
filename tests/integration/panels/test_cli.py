"""`sosbridge panel`: commissioning, with the bridge running beside it."""

from __future__ import annotations

import asyncio

from support.harness import live
from support.house import GUID, OTHER, House

from bridge.g90.wire.constants import ArmCode


@live
async def test_a_panel_is_pointed_here_asked_and_commanded(site: House) -> None:
    local = site.controlled()
    site.g90["panels"].append({"guid": OTHER, "name": "Office"})
    site.g90["announce"] = f"127.0.0.1:{site.port}"
    await site.start()
    panel = site.simulated(local=local, cloud=None)
    entering = site.enter(panel)

    async def sosbridge(*words: str) -> str:
        done = await site.bridge.command("panel", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def pointed() -> None:
        await panel.listening.wait()
        advice = await sosbridge("point-here", GUID)
        assert f"127.0.0.1:{site.port}" in advice
        assert "If it does not:" in advice

    await asyncio.gather(entering, pointed())
    listed = (await sosbridge("list")).splitlines()
    assert [line.split()[0] for line in listed] == [GUID, OTHER]
    assert "disarmed" in listed[0]
    assert "no host" in listed[1]
    status = await sosbridge("status", GUID)
    assert GUID in status
    assert "4100 mV" in status
    sensors = await sosbridge("sensors", GUID)
    assert "smoke" in sensors
    assert "Kitchen smoke" in sensors
    assert "armed_away" in await sosbridge("arm-away", GUID)
    await site.state("armed_away")
    assert "disarmed" in await sosbridge("disarm", "--host", "{}:{}".format(*local))
    await site.state("disarmed")
    assert panel.arm_state == ArmCode.DISARMED
    unknown = await site.bridge.command("panel", "status", "GBNOBODY")
    assert unknown.returncode == 2
    assert len(unknown.stderr.strip().splitlines()) == 1
