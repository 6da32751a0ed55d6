"""Builds the image, runs it as compose.yaml hardens it, and proves what deploy/README.md promises of it.

    tests/deploy/run image        or, in an environment with the tests' needs: python tests/deploy/image.py

CONTAINERS: docker or podman (default: the first that works). BASE_IMAGE: another base. BUILD_OPTIONS: more options of
the build, such as an authority of the network's own. ONLINE_WITHIN_S, MEMORY: other limits, for an emulated processor,
whose emulator takes memory and time of its own. What the machine lacks is said in a line, and is no failure.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from deploy.addon import prove as prove_addon
from deploy.kit import DEPLOY, TOP, ShippedBroker, password, prepared
from support.brokers import free_port

from bridge.sos_access.simulator.receiver import Accounts, Receiver

_PINNED = re.findall(r"^ARG BASE_IMAGE=(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
BASE = os.environ.get("BASE_IMAGE", *_PINNED)
TAG = "localhost/sosbridge:proof"
CODE = "IK00001"
MOST_ABOVE_BASE = 60_000_000
ONLINE_WITHIN_S = float(os.environ.get("ONLINE_WITHIN_S", "2"))
WAIT_S = 60.0


class Lacking(Exception):  # noqa: N818 - the machine's lack, not ours
    """What this machine has not."""


class Engine:
    """docker or podman."""

    def __init__(self) -> None:
        candidates = os.environ.get("CONTAINERS", "docker podman").split()
        self.name = next((name for name in candidates if shutil.which(name) and self._works(name)), "")
        if not self.name:
            raise Lacking(f"a container engine that works ({', '.join(candidates)})")

    @staticmethod
    def _works(name: str) -> bool:
        return subprocess.run([name, "info"], capture_output=True, timeout=60, check=False).returncode == 0

    def __call__(self, *words: object, within: float = 120) -> str:
        command = [self.name, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=within, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout.strip()

    def build(self) -> int:
        """Build the image; return its bytes above the base."""
        try:
            self("image", "inspect", BASE)
        except RuntimeError:
            try:
                self("pull", BASE, within=600)
            except RuntimeError as error:
                print(error)
                raise Lacking(f"the base {BASE}: it is not here and cannot be pulled") from None
        more = shlex.split(os.environ.get("BUILD_OPTIONS", ""))
        options = ["--file", DEPLOY / "Dockerfile", "--build-arg", f"BASE_IMAGE={BASE}", "--tag", TAG, *more]
        self("build", *options, TOP, within=1200)
        ours, base = (int(self("image", "inspect", "--format", "{{.Size}}", image)) for image in (TAG, BASE))
        return ours - base


class Proof:
    """One site over two lives of its container."""

    def __init__(self, engine: Engine, deploy: Path, broker: ShippedBroker, receivers: Sequence[Receiver]) -> None:
        self.engine = engine
        self.site = deploy / "site"
        self.broker = broker
        self.deploy = deploy
        self.panel_port = free_port()
        settings = self.site / "config/sosbridge.toml"
        text = settings.read_text()
        for shipped, receiver in zip(("receiver:19000", "receiver:19001"), receivers, strict=True):
            text = text.replace(shipped, f"127.0.0.1:{receiver.address[1]}")
        text = text.replace('host = "mosquitto"', f'host = "127.0.0.1"\nport = {broker.port}')
        settings.write_text(text.replace("0.0.0.0:5678", f"127.0.0.1:{self.panel_port}"))

    def options(self) -> list[str]:
        """Return what compose.yaml says of the bridge, as options of docker and podman."""
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        service = compose["services"]["bridge"]
        settings = dict(line.split("=", 1) for line in (self.deploy / ".env").read_text().splitlines())
        site = self.site.resolve()
        found = ["--user", f"{settings['SOSBRIDGE_UID']}:{settings['SOSBRIDGE_GID']}", "--network", "host"]
        found += ["--memory", os.environ.get("MEMORY", service["mem_limit"])]
        found += ["--pids-limit", str(service["pids_limit"])]
        found += ["--read-only"] if service["read_only"] else []
        found += [f"--cap-drop={name}" for name in service["cap_drop"]]
        found += [f"--security-opt={each.removesuffix(':true')}" for each in service["security_opt"]]
        found += [f"--tmpfs={each}" for each in service["tmpfs"]]
        found += [f"--volume={site}/config:/config:ro", f"--volume={site}/data:/data"]
        for secret in service["secrets"]:
            file = compose["secrets"][secret["source"]]["file"].replace("${SOSBRIDGE_SITE:-./site}", str(site))
            found.append(f"--volume={file}:/run/secrets/{secret['target']}:ro")
        return found

    @asynccontextmanager
    async def life(self) -> AsyncIterator[aiomqtt.Client]:
        """Run the container, to a clean end; within, a client that may do what the bridge may."""
        login = {"username": "bridge", "password": password(self.deploy, "bridge")}
        async with aiomqtt.Client("127.0.0.1", self.broker.port, **login) as client:  # type: ignore[arg-type]
            await client.subscribe("sosbridge/#", qos=1)
            begun = time.monotonic()
            name = await asyncio.to_thread(self.engine, "run", "--detach", *self.options(), TAG)
            try:
                await seen(client, "sosbridge/bridge/state", "online")
                online = time.monotonic() - begun
                print(f"online after {online:.1f} s")
                assert online < ONLINE_WITHIN_S, f"that is more than {ONLINE_WITHIN_S:g} s"
                yield client
                await asyncio.to_thread(self.engine, "exec", name, "sosbridge", "healthcheck")  # exits 0: it works
                begun = time.monotonic()
                await asyncio.to_thread(self.engine, "stop", "-t", "20", name)
                status = self.engine("inspect", "--format", "{{.State.ExitCode}}", name)
                print(f"exit {status} {time.monotonic() - begun:.1f} s after SIGTERM")
                assert status == "0"
                await seen(client, "sosbridge/bridge/state", "offline")
            except BaseException:
                print(self.engine("logs", name))
                raise
            finally:
                self.engine("rm", "--force", name)

    async def panel_alarm(self) -> None:
        """Let a simulated panel, in a container of its own, report fire."""
        words = ["--cloud", f"127.0.0.1:{self.panel_port}", "--sensor", "9:smoke:Kitchen", "--do", "alarm 9"]
        await asyncio.to_thread(
            self.engine, "run", "--rm", "--network", "host", "--read-only", TAG, "simulate", "panel", *words
        )


async def seen(client: aiomqtt.Client, topic: str, wanted: str) -> Any:  # noqa: ANN401 - JSON, or the text itself
    """Wait until a message on `topic` holds `wanted`."""
    async with asyncio.timeout(WAIT_S):
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            text = message.payload.decode()
            if str(message.topic) == topic and wanted in text:
                return json.loads(text) if text.startswith("{") else text
    raise AssertionError


async def command(client: aiomqtt.Client, leaf: str, payload: str, answer: str) -> None:
    await client.publish(f"sosbridge/transmitter/home/{leaf}", payload, qos=1)
    result = await seen(client, f"sosbridge/transmitter/home/{answer}/response", '"completed_at"')
    assert result["outcome"] == "accepted", result


async def prove(engine: Engine, deploy: Path) -> None:
    first = password(deploy, "authentication")
    accounts = Accounts({CODE: first})
    with ShippedBroker(deploy) as broker:
        async with (
            Receiver(accounts, "127.0.0.1", 0, ping_interval_min=0) as receiver,
            Receiver(accounts, "127.0.0.1", 0, ping_interval_min=0) as secondary,
        ):
            proof = Proof(engine, deploy, broker, (receiver, secondary))
            async with proof.life() as client:
                health = await seen(client, "sosbridge/bridge/health", "rss_bytes")
                print(f"{health['rss_bytes'] / 2**20:.0f} MiB resident")
                await command(client, "alarm/raise", "BA", "alarm")
                await proof.panel_alarm()
                await receiver.wait_for(lambda each: getattr(each.request, "event_code", "") == "FA", timeout=WAIT_S)
                await command(client, "auth/rotate", "", "auth")
                await command(client, "ping", "", "ping")
            async with proof.life() as client:
                await command(client, "alarm/raise", "PA", "alarm")
            last = next(each.request for each in reversed(receiver.arrivals) if each.request and each.kind == "alarm")
            assert last.authentication.reveal() != first
            print("alarms of MQTT and of a panel delivered; the rotated password outlived its container")


def main() -> None:
    try:
        engine = Engine()
        print(f"{engine.name}, {BASE}", flush=True)
        print(f"the image has {(above := engine.build()) / 1e6:.0f} MB above its base")
    except Lacking as lack:
        print(f"NOT PROVED HERE: the image was not built and run, this machine lacks {lack}")
        return
    assert above < MOST_ABOVE_BASE
    with tempfile.TemporaryDirectory(prefix="sosbridge-image-") as folder:
        Path(folder).chmod(0o755)
        deploy = prepared(Path(folder))
        asyncio.run(prove(engine, deploy))
    with tempfile.TemporaryDirectory(prefix="sosbridge-addon-") as folder:  # with a broker that remembers no `online`
        asyncio.run(prove_addon(engine, TAG, prepared(Path(folder)), seen))


if __name__ == "__main__":
    main()
