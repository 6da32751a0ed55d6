"""Two network paths, each cut in turn, in network namespaces of its own: `unshare -n python -m chaos.paths`.

The receivers listen in a second namespace, at one address that both paths lead to.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.paths import network, run
from chaos.ledger import RECEIVERS, Ledger, now
from chaos.load import Listener, Publisher
from chaos.product import PASSWORD, Product, code, configuration, store_of
from chaos.receivers import Station
from chaos.rotation import Rotations
from chaos.table import faulty
from support.brokers import Mosquitto

from bridge.sos_access.simulator.receiver import Accounts

_HOST = "10.9.9.9"
_BASE = "paths"
_NAME = "t1"
_RATE = 4.0
_CUT_S = 6.0
_SETTLES_WITHIN_S = 60.0
_LATE_S = 4.0
"""So long after a cut an exchange in it may still hang."""
_PATHS = "".join(
    f'\n[[transmitters.paths]]\nname = "{name}"\ninterface = "{interface}"\n'
    for name, interface in (("fixed", "a0"), ("mobile", "a1"))
)


def paths_cut() -> str:
    """Run this in a namespace of its own; return what came of it, or why it was not run."""
    if os.geteuid() or subprocess.run(["unshare", "-n", "ip", "link"], capture_output=True, check=False).returncode:
        return "not run: network namespaces need root and iproute2"
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-P", "-m", "chaos.paths"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else f"failed: {(done.stdout + done.stderr).strip()}"


async def _cut_paths(folder: Path, there: int) -> Ledger:
    store_of(folder).parent.mkdir(parents=True)
    ledger = Ledger()
    ledger.accounts[_NAME] = {code(_NAME)}
    accounts = Accounts({code(_NAME): PASSWORD})
    receivers = [Station(accounts, ledger, name, _HOST) for name in RECEIVERS]
    _enter(there)
    for receiver in receivers:
        await receiver.start()
    _enter(os.getpid(), _own)
    product = Product(folder, ledger)
    with Mosquitto(folder) as broker:
        ports = [receiver.address[1] for receiver in receivers]
        text = configuration(folder, _BASE, broker.port, ports, [_NAME])
        for port in ports:
            text = text.replace(f"127.0.0.1:{port}", f"{_HOST}:{port}")
        product.config.write_text(text + _PATHS, "utf-8")
        listener, publisher = Listener(broker.port, _BASE, ledger), Publisher(broker.port, _BASE, ledger)
        clients = [asyncio.create_task(each.run()) for each in (listener, publisher)]
        try:
            product.start()
            async with asyncio.timeout(_SETTLES_WITHIN_S):
                await listener.online.wait()
            end = now() + 8 * _CUT_S
            load = asyncio.create_task(publisher.load(_NAME, random.Random("paths"), _RATE, end))
            for cut in ((0,), (1,), (0, 1)):
                await _cut(ledger, there, cut)
            await load
            end = now() + _SETTLES_WITHIN_S
            while ledger.open() and now() < end:  # noqa: ASYNC110 - results come from another process
                await asyncio.sleep(0.1)
            await product.stop()
        finally:
            product.end()
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
            for receiver in receivers:
                await receiver.stop()
    return ledger


async def _cut(ledger: Ledger, there: int, paths: Sequence[int]) -> None:
    """Cut paths at their far end, where the bridge does not see it, and heal them again."""
    begun = now()
    for number in paths:
        run(f"nsenter -t {there} -n ip link set b{number} down")
    await asyncio.sleep(_CUT_S)
    for number in paths:
        run(f"nsenter -t {there} -n ip link set b{number} up")
    ledger.cuts.append((begun, now() + _LATE_S))
    for receiver in RECEIVERS[: len(paths)]:  # over one path of two an exchange may hang, but no round fails
        ledger.troubles[receiver].append((begun, now() + _LATE_S))
    await asyncio.sleep(_CUT_S / 2)


_own = -1


def _enter(process: int, handle: int = -1) -> None:
    """Let new sockets be in the network namespace of a process, or in that of `handle`."""
    handle = os.open(f"/proc/{process}/ns/net", os.O_RDONLY) if handle < 0 else handle
    if ctypes.CDLL(None, use_errno=True).setns(handle, 0):
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")


def main() -> int:
    global _own  # noqa: PLW0603 - one process, one namespace
    _own = os.open("/proc/self/ns/net", os.O_RDONLY)
    folder = Path(tempfile.mkdtemp(prefix="chaos-paths-"))
    with network() as there:
        ledger = asyncio.run(_cut_paths(folder, there))
    delays = [each.first - each.published[0] for each in ledger.alarms.values() if each.first is not None]
    print(f"{len(ledger.alarms)} alarms, {len(ledger.lost())} lost, longest delay {max(delays, default=0):.1f} s")
    if faults := faulty(ledger, Rotations()):
        print("\n".join(faults), f"\nlogs are in {folder}")
        return 1
    with suppress(OSError):
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
