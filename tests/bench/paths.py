"""The row of `bench_faults` with network paths, in network namespaces of its own: `unshare -n python -m bench.paths`.

The receivers are in a second namespace, at one address that two pairs of interfaces lead to; one pair is cut at its far
end, where the bridge does not see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

from bench.faulty import Site
from bench.figures import row
from bench.kit import PASSWORD

_RECEIVERS = "10.9.9.9"
_PORTS = (19000, 19001)
_HERE = (
    "ip link set lo up",
    *(f"ip link add a{n} type veth peer name b{n} netns {{there}}" for n in (0, 1)),
    *(f"ip addr add 10.9.{n}.1/24 dev a{n}" for n in (0, 1)),
    *(f"ip link set a{n} up" for n in (0, 1)),
)
_THERE = (
    "ip link set lo up",
    f"ip addr add {_RECEIVERS}/32 dev lo",
    *(f"ip addr add 10.9.{n}.2/24 dev b{n}" for n in (0, 1)),
    *(f"ip link set b{n} up" for n in (0, 1)),
)
_ROUTES = tuple(f"ip route add {_RECEIVERS} via 10.9.{n}.2 dev a{n} metric {n + 1}" for n in (0, 1))


@contextlib.contextmanager
def network() -> Iterator[int]:
    """Connect this namespace with another; return the process that holds that."""
    with subprocess.Popen(["unshare", "-n", "sleep", "infinity"]) as there:
        try:
            time.sleep(0.5)  # until it is in its namespace
            for command in _HERE:
                run(command.format(there=there.pid))
            for command in _THERE:
                run(f"nsenter -t {there.pid} -n {command}")
            for command in _ROUTES:
                run(command)
            yield there.pid
        finally:
            there.kill()


def run(command: str) -> None:
    subprocess.run(shlex.split(command), check=True)


@contextlib.contextmanager
def receivers(namespace: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for port in _PORTS:
            command = ["nsenter", "-t", str(namespace), "-n", sys.executable, "-m", "bridge", "simulate", "receiver"]
            options = ["--host", "0.0.0.0", "--port", str(port), "--transmitter", f"IK1:{PASSWORD}"]
            process = stack.enter_context(subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL))
            stack.callback(process.kill)
        yield


async def measure(namespace: int) -> list[float]:
    paths = '\n[[transmitters.paths]]\nname = "fixed"\ninterface = "a0"\n'
    paths += '[[transmitters.paths]]\nname = "mobile"\ninterface = "a1"\n'
    async with Site.open(start=False) as site:
        config = site.bridge.config.read_text()
        for receiver, port in zip((site.primary, site.secondary), _PORTS, strict=True):
            config = config.replace(f"127.0.0.1:{receiver.port}", f"{_RECEIVERS}:{port}")
        site.bridge.config.write_text(config + paths)
        await site.start()
        await asyncio.sleep(6)  # four routes are checked
        run(f"nsenter -t {namespace} -n ip link set b0 down")
        times = []
        for reference in ("r0", "r1", "r2"):
            mark = len(site.seen)
            await site.publish(reference)
            at = await site.until(lambda topic, payload, wanted=reference: _is_of(wanted, topic, payload), mark, 120)  # type: ignore[misc]
            times.append(at - site.sent[reference])
        return times


def _is_of(reference: str, topic: str, payload: str) -> bool:
    return topic.endswith("alarm/response") and json.loads(payload).get("reference") == reference


def main() -> None:
    with network() as namespace, receivers(namespace):
        first, *others = asyncio.run(measure(namespace))
    row("first path cut (network namespaces), first alarm", "", f"{first:.2f} s", "6 s", met=first <= 6)
    row("the next", "", f"{max(others):.2f} s", "0.3 s", met=max(others) <= 0.3)


if __name__ == "__main__":
    main()
