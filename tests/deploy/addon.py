"""The add-on's image, on the product's: started as Home Assistant does; it gives up root, is backed up and restored."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiomqtt
import yaml
from deploy.kit import TOP, ShippedBroker, password

ADDON = TOP / "homeassistant/addon"
CONFIG: dict[str, Any] = yaml.safe_load((ADDON / "config.yaml").read_text("utf-8"))
TAG = "localhost/sosbridge-addon:proof"
TRANSMITTER = {
    "name": "home",
    "transmitter_code": "IK00001",
    "transmitter_type": "SV300",
    "authentication": "012345678912345",
    "receiver_id": "ALARM-OPER",
    "receiver": "127.0.0.1:9",  # nobody: what is raised waits
    "use_single_receiver": True,
    "use_tls": False,
    "heartbeat": "off",
}
Seen = Callable[[aiomqtt.Client, str, str], Any]


def leave_out(data: Path) -> None:
    """Remove what a backup of Home Assistant does not hold."""
    for kind in CONFIG["backup_exclude"]:
        for path in data.glob(kind):
            path.unlink()


async def prove(engine: Callable[..., str], product: str, deploy: Path, seen: Seen) -> None:
    engine("build", "--build-arg", f"IMAGE={product}", "--tag", TAG, ADDON)
    with ShippedBroker(deploy) as broker, tempfile.TemporaryDirectory(prefix="sosbridge-addon-") as folder:
        login = {"username": "bridge", "password": password(deploy, "bridge")}
        options = {
            **CONFIG["options"],
            "mqtt": {"host": "127.0.0.1", "port": broker.port, **login},
            "transmitters": [TRANSMITTER],
        }
        data = Path(folder)
        (data / "options.json").write_text(json.dumps(options))
        async with aiomqtt.Client("127.0.0.1", broker.port, **login) as client:  # type: ignore[arg-type]
            await client.subscribe("sosbridge/#", qos=1)
            name = engine("run", "--detach", "--network", "host", "--volume", f"{data}:/data", TAG)
            try:
                await seen(client, "sosbridge/bridge/state", "online")
                assert "\nUid:\t10001\t10001\t10001\t10001\n" in engine("exec", name, "cat", "/proc/1/status")
                engine("exec", name, "sosbridge", "healthcheck")  # exits 0: it works, though no receiver answers
                await client.publish("sosbridge/transmitter/home/alarm/raise", "BA", qos=1)
                await seen(client, "sosbridge/transmitter/home/outbox", '"pending": 1')
                engine("exec", name, *shlex.split(CONFIG["backup_pre"]))
                engine("stop", "-t", "20", name)
                leave_out(data)
                engine("start", name)
                await seen(client, "sosbridge/bridge/state", "offline")
                await seen(client, "sosbridge/bridge/state", "online")
                assert "\talarm\tBA\t" in engine("exec", name, "sosbridge", "outbox", "list")
                assert login["password"] not in engine("logs", name)
            except BaseException:
                print(engine("logs", name))
                raise
            finally:
                engine("rm", "--force", name)
    print("the add-on: online without root; what waited came through a backup and a restore")
