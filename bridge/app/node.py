"""A node of a cluster: stands by, owns shards, loses them (bridge/README.md, Several nodes).

`Membership` is the node's own session with the database: it says that the node lives and shows who owns what. Each
owned shard has a PostgresStore, whose session holds the lock, and a Bridge over it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from bridge import __version__
from bridge.app import build, standby_check, watchdog, web
from bridge.app.bridge import Bridge, run_once
from bridge.app.front import front
from bridge.app.ownership import Ownership, Place
from bridge.common.errors import BridgeError, BusyError, LostError, StoreError, first
from bridge.common.lasting import LASTS, Lasting
from bridge.common.models import NamedAlarm, Secret
from bridge.common.problems import Kind, NodeProblems, Problems
from bridge.config.settings import Settings
from bridge.config.shards import Parts, ShardsOfOthers, digest
from bridge.config.transmitters import TransmitterSettings
from bridge.mqtt.client import BrokerError, try_connection
from bridge.record.months import Month
from bridge.store.passwords import account
from bridge.store.postgres.database import PostgresStore
from bridge.store.postgres.nodes import Cluster, Member, Membership
from bridge.store.postgres.passwords import PasswordTable, read_passwords
from bridge.transmitters.network import Pace

log = logging.getLogger(__name__)

_LOOK_S = 0.5
"""How soon a shard that lost its owner is noticed, if no notification comes."""
_AGAIN_S = 1.0
"""Until the database is tried again."""
_BROKER_EACH_S = 5.0
_CONNECTS_S = 4.0
"""A longer outage of the broker is reported to the other nodes, before the shard is released (`ownership._AWAY_S`)."""
_REST_S = 60.0
"""How long a node leaves shards to others after it gave one up, while they reach the broker."""
_HEAD_START_S = 2.0
"""How long they have for that: two nodes that both gave it up would leave a shard to each other."""
_FRESH_S = 10.0
"""A node that gave a shard up this shortly ago leaves it to others for twice as long."""
_STOP_S = 4.4
"""What a stop waits for bridges; after it the process ends without them."""
_CLOSE_S = 0.2
"""What the end of a store's session waits for; usually it takes milliseconds."""
_ANSWERS_S = 5.0
"""How long a look at the cluster may take; usually it takes milliseconds."""
_MOVES_S = 10.0
"""How long a shard that is moved is left to the node that it is moved to."""
_MOVES = "moves"
"""The notification that a shard is moved."""
_REQUEST = "request"
"""The notification that the owner of a shard has something to do."""


class Node:
    def __init__(self, settings: Settings, url: Secret) -> None:
        self._parts = Parts(settings)
        self._settings, self._url = self._parts.common, url
        self._name = settings.node.name
        self._most = settings.node.shards or settings.store.shards
        self._digest = digest(settings)
        self._problems = NodeProblems()
        self._problems.doubt(Kind.STORE_FAILED)
        self._board = web.board(settings, self._problems)
        self._pace = Pace()
        self._joined = asyncio.Event()
        self._membership: Membership | None = None
        self._cluster = Cluster((), {})
        self._broker: bool | None = None
        """Whether this node reaches the broker; None: not tried yet."""
        self._bridges: dict[int, Bridge] = {}
        self._owning: dict[int, asyncio.Task[None]] = {}
        self._ownerships: dict[int, Ownership] = {}
        self._not_before: dict[int, float] = {}
        """Until when a shard is left to others, if these could take it."""
        self._free_since: dict[int, float] = {}
        """When each shard that nobody owns was found so."""
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Stand by and own shards until `stop` is set. Raises ConfigError, BusyError, DamagedError."""
        try:
            await self._run(stop, watchdog.Manager())
        except* BridgeError as errors:
            raise first(errors) from None

    async def _run(self, stop: asyncio.Event, manager: watchdog.Manager) -> None:
        async with asyncio.TaskGroup() as tasks:
            parts = front(self._settings, self, self._problems, manager, self._joined, self._board)
            parts |= {"cluster": self._attend(tasks), "broker": self._watch_broker()}
            running = {name: tasks.create_task(work, name=name) for name, work in parts.items()}
            await stop.wait()
            log.info("stopping")
            manager.notify(STOPPING=1)
            self._stopping = True
            running["cluster"].cancel()
            if not (await asyncio.wait([running["cluster"]], timeout=_CLOSE_S))[1]:
                await self._look_again()
            await self._give_up()
            for each in running.values():
                each.cancel()
            await asyncio.wait(running.values())
        if self._membership is not None:
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await self._membership.leave()

    async def _look_again(self) -> None:
        """See whether another node has started just now."""
        if self._membership is not None:
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    self._cluster = await self._membership.look(broker=self._broker)

    async def _give_up(self) -> None:
        """Give up every shard in order; another node, if one lives, takes over."""
        for ownership in self._ownerships.values():
            ownership.stop.set()
        if owning := [*self._owning.values()]:
            _, late = await asyncio.wait(owning, timeout=_STOP_S)
            for each in late:
                log.error("%s: the database does not answer; ended without it", each.get_name())
                each.cancel()

    # The database

    async def _attend(self, tasks: asyncio.TaskGroup) -> None:
        """Stay a member of the cluster, whatever becomes of the connection."""
        trouble = Lasting()
        while True:
            try:
                await self._join()
                if (took := trouble.end(asyncio.get_running_loop().time())) is not None:
                    log.info("the database is back after %.0f s", took)
                await self._follow(tasks)
            except StoreError as error:
                if self._membership is None:  # else a session ended, and the next one may be made at once
                    self._problems.set(Kind.STORE_FAILED, str(error))
                if self._membership is None and trouble.is_due(asyncio.get_running_loop().time()):
                    log.error("%s", error)
            finally:
                if self._membership is not None and not self._stopping:
                    await self._membership.close()
                    self._membership = None
            await asyncio.sleep(_AGAIN_S)

    async def _join(self) -> None:
        lease, shards = self._settings.store.lease, self._settings.store.shards
        loop = asyncio.get_running_loop()
        until = loop.time() + 2 * lease
        while self._membership is None:
            try:
                self._membership = await Membership.join(
                    self._url, self._name, __version__, self._digest, shards, self._most
                )
            except BusyError:  # the session of a process that was killed may live on for a while
                if loop.time() > until and not self._joined.is_set():
                    raise
                await asyncio.sleep(_AGAIN_S)
        self._problems.set(Kind.STORE_FAILED, None)

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Look at the cluster again and again, and take what is free. Raises StoreError."""
        membership = self._membership
        assert membership is not None  # noqa: S101 - joined
        while True:
            try:
                async with asyncio.timeout(_ANSWERS_S):
                    self._cluster = await membership.look(broker=self._broker)
            except TimeoutError:
                raise StoreError("the database does not answer") from None
            if not self._joined.is_set():
                self._joined.set()
                log.info("node %s: %s", self._name, self.state())
            standby_check.report(self._cluster, self._name, self._digest, self._reports, self._unowned())
            for shard in range(self._settings.store.shards):
                if self._may_take(shard):
                    self._owning[shard] = tasks.create_task(self._own_shard(shard), name=f"shard {shard}")
            await self._listen(membership)

    async def _listen(self, membership: Membership) -> None:
        """Take what is notified until the next look at the cluster is due. Raises StoreError."""
        loop = asyncio.get_running_loop()
        due = loop.time() + _LOOK_S
        while (left := due - loop.time()) > 0:
            heard = [self._heard(text) for text in await membership.news(left)]  # each, also after one to look for
            if any(heard):
                return

    def _heard(self, text: str) -> bool:
        """Take one notification; return whether to look at the cluster now: a request says nothing about it."""
        what, number, to = (*text.split(" "), "", "")[:3]
        shard = int(number) if number.isdecimal() else -1
        if what == _MOVES:
            self._not_before[shard] = 0.0 if to == self._name else asyncio.get_running_loop().time() + _MOVES_S
        bridge = self._bridges.get(shard)
        if what == _REQUEST and bridge is not None and bridge.requests is not None:
            bridge.requests.news.set()
        return what != _REQUEST

    def _unowned(self) -> list[int]:
        """Return the shards that nobody has taken for a while."""
        now = asyncio.get_running_loop().time()
        free = [shard for shard in range(self._settings.store.shards) if shard not in self._cluster.owners]
        self._free_since = {shard: self._free_since.get(shard, now) for shard in free}
        return [shard for shard, since in self._free_since.items() if now - since > standby_check.GRACE_S]

    @property
    def _reports(self) -> Problems:
        """Where problems of the cluster are noted: the owner of shard 0 publishes them."""
        return self._bridges[0].problems if 0 in self._bridges else self._problems

    # Shards

    def _may_take(self, shard: int) -> bool:
        if self._stopping or shard in self._owning or shard in self._cluster.owners or len(self._owning) >= self._most:
            return False
        if not any(each.broker for each in self._successors()):
            return True
        now = asyncio.get_running_loop().time()
        rests = self._not_before.get(shard, 0.0) - now
        head_start = _HEAD_START_S * (2 if rests > _REST_S - _FRESH_S else 1)
        return (self._broker is not False and rests <= 0) or now - self._free_since[shard] > head_start

    def _successors(self) -> list[Member]:
        return self._cluster.successors(self._name)

    async def _own_shard(self, shard: int) -> None:
        lease = self._settings.store.lease
        try:
            store = await PostgresStore.open(self._url, shard, lease_s=lease, node=self._name)
            ownership = Ownership(
                store, self._name, shard, lease, lambda: self._cluster, lambda: self._membership is not None,
                self._parts.names(shard), self._differs,
            )  # fmt: skip
            proving = asyncio.create_task(ownership.prove_regularly(), name=f"shard {shard}: proof of life")
            try:
                await self._serve(store, ownership)
            finally:
                proving.cancel()
                with suppress(TimeoutError):  # its thread may wait for the database without end
                    async with asyncio.timeout(_CLOSE_S):
                        await store.close()
        except BusyError:
            log.debug("shard %d: another node was first", shard)
        except StoreError as error:
            log.error("shard %d: %s", shard, error, extra=LASTS)
            await asyncio.sleep(_AGAIN_S)
        finally:
            del self._owning[shard]

    async def _serve(self, store: PostgresStore, ownership: Ownership) -> None:
        """Run the bridge of a shard until it is given up or lost."""
        shard = ownership.shard
        max_ages = await asyncio.to_thread(self._max_ages) if shard == 0 else {}
        place = Place(
            ownership,
            await _homes(store),
            ShardsOfOthers(self._parts.shards, shard),
            max_ages,
            partial(self._move, ownership),
            self._pace,
            self._board,
            self._differs,
            self._alarms,
        )
        # In a thread: of thousands of transmitters it takes seconds, in which the other shards go on.
        bridge = await asyncio.to_thread(lambda: Bridge(self._parts[shard], store, place=place))
        log.info("node %s owns shard %d", self._name, shard)
        self._problems.set(Kind.STANDBY_MISSING, None)
        self._problems.set(Kind.CONFIGURATION_DIFFERS, None)
        self._problems.include(bridge.problems)
        self._ownerships[shard], self._bridges[shard] = ownership, bridge
        if self._stopping:
            ownership.stop.set()
        try:
            damaged = await run_once(bridge, ownership.stop)
            if damaged is not None:
                raise damaged
            log.info("node %s gives up shard %d", self._name, shard)
        except LostError as error:
            log.warning("node %s stands by: %s", self._name, error)
        finally:
            del self._ownerships[shard], self._bridges[shard]
            self._problems.exclude(bridge.problems)
            if ownership.released:
                rests = asyncio.get_running_loop().time() + _REST_S
                self._not_before[shard] = max(rests, self._not_before.get(shard, 0.0))
            if self._board is not None:
                self._board.forget(self._parts.names(shard), bridge=shard == 0)

    def _max_ages(self) -> dict[str, float]:
        """Return how old an alarm of each transmitter of any shard may be, in seconds."""
        return {name: age for part in self._parts for name, age in build.max_ages(part).items()}

    def _alarms(self, transmitter: str) -> Mapping[str, NamedAlarm] | None:
        """Return the configured alarms of a transmitter of any shard; None if it is not configured."""
        settings = self._parts.transmitter(transmitter)
        return None if settings is None else build.alarms(settings)

    def _differs(self) -> bool:
        others = standby_check.configured_otherwise(self._cluster, self._name, self._digest)
        return self._settings.store.shards > 1 and bool(others)

    async def _move(self, ownership: Ownership, to: str) -> bool:
        """Give a shard to the node `to`; return False if that cannot take it."""
        if all(each.name != to for each in self._successors()):
            await asyncio.sleep(2 * _LOOK_S)  # it may have started just now
        if all(each.name != to for each in self._successors()) or self._membership is None:
            return False
        with suppress(StoreError):
            await self._membership.notify(f"{_MOVES} {ownership.shard} {to}")
        self._not_before[ownership.shard] = asyncio.get_running_loop().time() + _MOVES_S
        asyncio.get_running_loop().call_later(_LOOK_S, ownership.release, f"it is moved to node {to}")
        return True

    # The broker

    async def _watch_broker(self) -> None:
        """Look whether this node reaches the broker, also while it stands by."""
        own = build.broker(self._settings)
        trial = replace(own, client_id=f"{own.client_id}-{self._name}")
        while True:
            if self._bridges:
                away_s = max(each.status.broker_away_s() for each in self._bridges.values())
                if away_s == 0:
                    self._broker = True
                elif away_s > _CONNECTS_S:
                    self._broker = False
                await asyncio.sleep(_LOOK_S)
                continue
            try:
                await try_connection(trial)
                self._broker = True
            except BrokerError as error:
                if self._broker is not False:
                    log.warning("the broker does not answer this node: %s", error)
                self._broker = False
            await asyncio.sleep(_BROKER_EACH_S)

    # What the page and the health check show

    def online(self) -> bool:
        return bool(self._bridges) and all(each.status.online() for each in self._bridges.values())

    def reconnects(self) -> int:
        return sum(each.status.reconnects() for each in self._bridges.values())

    async def hanging(self) -> list[str]:
        return [name for each in self._bridges.values() for name in each.status.stopped()]

    async def report(self, transmitter: str, month: Month) -> str | None:
        for each in self._bridges.values():
            if (found := await each.status.report(transmitter, month)) is not None:
                return found
        return None

    async def counters(self) -> Mapping[str, object]:
        values = {shard: await each.status.counters() for shard, each in self._bridges.items()}
        return {f"shard {shard} {name}": value for shard, found in values.items() for name, value in found.items()}

    def state(self) -> str:
        if not self._joined.is_set():
            return "waiting for the database"
        if not self._bridges:
            return "standby"
        return f"owner of shard {', '.join(map(str, sorted(self._bridges)))}"

    def owned(self) -> Mapping[int, bool]:
        return {shard: shard in self._bridges for shard in range(self._settings.store.shards)}


async def _homes(store: PostgresStore) -> build.Homes:
    stored, loop = await read_passwords(store), asyncio.get_running_loop()

    def home(each: TransmitterSettings) -> PasswordTable:
        key = account(each.transmitter_code, each.transmitter_type)
        return PasswordTable(store, key, stored.get(key), loop)

    return home
