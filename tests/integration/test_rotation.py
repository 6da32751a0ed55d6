"""Rotations that are interrupted at each step never lock the transmitter out, and no password leaves its store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from support.harness import CODE, PASSWORD, Site, live

from bridge.sos_access.simulator.receiver import Arrival, Fault

STATIONS = ("primary", "secondary")


def _is_rotation(raw: bytes) -> bool:
    return b"<requestnewauthentication" in raw


class _PowerCut:
    """Kills the bridge once, at a moment that a station sees."""

    def __init__(self, site: Site) -> None:
        self.happened = asyncio.Event()
        self._site = site

    def now(self) -> None:
        if not self.happened.is_set():
            self._site.bridge.kill()
            self.happened.set()

    def before(self, wanted: Callable[[bytes], bool]) -> None:
        """Cut when such a request has come and is not treated yet; it never is."""

        def cut(raw: bytes) -> bool:
            if self.happened.is_set() or not wanted(raw):
                return False
            self.now()
            return True

        self._site.primary.on_request = cut

    def after(self, kind: str) -> None:
        """Cut when such a request is treated and its answer is not sent yet."""

        def cut(arrival: Arrival) -> None:
            if arrival.kind == kind:
                self.now()

        self._site.primary.on_treated = cut

    async def wait(self) -> None:
        async with asyncio.timeout(30):
            await self.happened.wait()


async def _works(site: Site) -> None:
    """Messages go through, and another rotation does, and messages after that."""
    for leaf in ("ping", "alarm/raise", "auth/rotate", "alarm/restore", "ping"):
        result = await site.do(leaf, "BA" if leaf.startswith("alarm") else "")
        assert result["outcome"] == "accepted", result
    assert not [seen for seen in site.mqtt.of("bridge/event") if seen.value["type"] == "unauthorized"]


@pytest.mark.parametrize("answered", [False, True])
@live
async def test_killed_before_the_request_is_treated_or_its_response_came(site: Site, *, answered: bool) -> None:
    await site.start()
    cut = _PowerCut(site)
    if answered:
        cut.after("auth")
    else:
        cut.before(_is_rotation)
    await site.send("auth/rotate")
    await cut.wait()
    await site.start()
    assert (await site.result(kind="auth"))["outcome"] == "accepted"
    await _works(site)


@live
async def test_killed_when_the_new_password_is_stored_and_not_used(site: Site) -> None:
    await site.start()
    await site.send("auth/rotate")
    await site.bridge.logs("it is stored")
    site.bridge.kill()
    account = site.accounts.account(CODE)
    assert account is not None
    assert account.pending is not None, "used before anybody asked"
    await site.start()
    assert (await site.result(kind="auth"))["outcome"] == "accepted"
    await _works(site)


@live
async def test_killed_after_the_first_use(site: Site) -> None:
    await site.start()
    assert (await site.do("auth/rotate"))["outcome"] == "accepted"
    cut = _PowerCut(site)
    cut.after("ping")
    await site.send("ping")
    await cut.wait()
    await site.start()
    await _works(site)
    # The first password was good until the new one was used, and never since.
    assert [each.status for each in site.arrivals].count(4) <= 1


@pytest.mark.parametrize("lost", [("primary",), ("primary", "secondary")])
@live
async def test_the_response_is_lost(site: Site, lost: tuple[str, ...]) -> None:
    await site.start()
    for name in lost:
        getattr(site, name).faults.add(Fault(lose=True), 1)
    result = await site.do("auth/rotate")
    assert result["outcome"] == ("unreachable" if len(lost) == len(STATIONS) else "accepted")
    for name in STATIONS:
        getattr(site, name).faults.clear()
    await _works(site)


@pytest.mark.parametrize("fault", [Fault(lose=True), Fault(garbage="random"), Fault(status=99), Fault(drop=True)])
@live
async def test_the_first_message_with_the_new_password_fails(site: Site, fault: Fault) -> None:
    await site.start()
    await site.checked()
    await site.send("auth/rotate")
    await site.bridge.logs("it is stored")
    for name in STATIONS:
        getattr(site, name).faults.add(fault)
    assert (await site.do("ping"))["outcome"] == "unreachable"
    for name in STATIONS:
        getattr(site, name).faults.clear()
    await site.restart()
    await _works(site)


@live
async def test_the_operator_gives_a_new_first_password(site: Site) -> None:
    await site.start()
    assert (await site.do("auth/rotate"))["outcome"] == "accepted"
    assert (await site.do("ping"))["outcome"] == "accepted"
    site.bridge.kill()
    site.set_password("operatorsnewone")
    site.home["authentication"] = "operatorsnewone"
    await site.start()
    await _works(site)


@live
async def test_no_password_anywhere_but_in_its_store(site: Site) -> None:
    # Not the first one here: the configuration has it.
    await site.start()
    for _ in range(3):
        assert (await site.do("auth/rotate", "r1"))["outcome"] == "accepted"
        assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    site.set_password("another12345678")
    assert (await site.do("ping"))["outcome"] == "unauthorized"
    shown = site.bridge.argv
    known = site.passwords - {PASSWORD}
    assert len(known) == 3
    for command in (("outbox", "list"), ("healthcheck",), ("check",)):
        done = await site.bridge.command(*command)
        shown += done.stdout + done.stderr
    held = json.dumps(await site.retained())
    assert await site.bridge.stop() == 0
    shown += site.bridge.log + held + "".join(seen.payload for seen in site.mqtt.seen)
    kept = [path for path in site.folder.rglob("*") if path.is_file()]
    passwords = [path for path in kept if path.parent.name == "bridge.passwords"]
    assert len(passwords) == 1
    assert passwords[0].stat().st_mode & 0o777 == 0o600
    assert passwords[0].parent.stat().st_mode & 0o077 == 0
    assert any(password in passwords[0].read_text() for password in known)
    for password in known:
        assert password not in shown
        for path in kept:
            assert path in passwords or password.encode() not in path.read_bytes(), path
    for path in (path for path in kept if path.name.startswith("bridge.db")):
        assert path.stat().st_mode & 0o077 == 0, path
        assert PASSWORD.encode() not in path.read_bytes()
