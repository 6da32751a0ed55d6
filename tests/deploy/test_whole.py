"""The bridge with the shipped configuration at the shipped broker: by password, and by client certificate."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from deploy.kit import DEPLOY, ShippedBroker, password, prepared, run
from support.brokers import free_port
from support.processes import Bridge

from bridge.common.models import Secret
from bridge.mqtt.client import Broker, BrokerError, try_connection
from bridge.sos_access.simulator.receiver import Accounts, Receiver


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    return prepared(tmp_path)


class Installed(Bridge):
    """The bridge with site/config/sosbridge.toml, and its secrets where compose.yaml lays them."""

    def __init__(self, deploy: Path, overrides: dict[str, object]) -> None:
        site = deploy / "site"
        super().__init__(site / "config/sosbridge.toml", site / "bridge.log")
        self.secrets = site / "run-secrets"
        self.secrets.mkdir()
        shutil.copy(site / "passwords/authentication", self.secrets / "transmitters__home__authentication")
        self._overrides = {
            "store.path": site / "data/sosbridge.db",
            "mqtt.host": "127.0.0.1",
            "g90.listen": f"127.0.0.1:{free_port()}",
            **overrides,
        }

    def _command(self, arguments: Sequence[str]) -> list[str]:
        sets = [word for key, value in self._overrides.items() for word in ("--set", f"{key}={value}")]
        return ["env", f"SOSBRIDGE_SECRETS_DIR={self.secrets}", *super()._command([*sets, *arguments])]


@asynccontextmanager
async def running(bridge: Installed) -> AsyncIterator[None]:
    bridge.start()
    try:
        yield
        assert await bridge.stop() == 0
    finally:
        bridge.kill()
    assert " WARNING " not in bridge.log.replace("use_tls is false", "").replace(" WARNING  home:", ""), bridge.log


@asynccontextmanager
async def receiving(deploy: Path) -> AsyncIterator[tuple[Receiver, dict[str, object]]]:
    """Two receivers that share their accounts: the first, and the settings with the addresses of both."""
    accounts = Accounts({"IK00001": password(deploy, "authentication")})
    async with Receiver(accounts, "127.0.0.1", 0) as first, Receiver(accounts, "127.0.0.1", 0) as second:
        roles = {"receiver": first, "secondary_receiver": second}
        yield first, {f"transmitters.home.{role}": "{}:{}".format(*each.address) for role, each in roles.items()}


async def value(client: aiomqtt.Client, topic: str, wanted: str) -> None:
    """Wait until `topic` holds something with `wanted` in it."""
    await client.subscribe(topic, qos=1)
    async for message in client.messages:
        assert isinstance(message.payload, bytes)
        if message.topic.matches(topic) and wanted in message.payload.decode():
            return


async def raised(client: aiomqtt.Client) -> None:
    """Raise an alarm and see it delivered."""
    await value(client, "sosbridge/bridge/state", "online")
    await client.publish("sosbridge/transmitter/home/alarm/raise", "BA", qos=1)
    await value(client, "sosbridge/transmitter/home/alarm/response", '"accepted"')


def by_password(broker: ShippedBroker, deploy: Path, user: str) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", broker.port, username=user, password=password(deploy, user))


def test_by_password(deploy: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), receiving(deploy) as (receiver, addresses):
            bridge = Installed(deploy, {"mqtt.port": broker.port, **addresses})
            shutil.copy(deploy / "site/passwords/bridge", bridge.secrets / "mqtt__password")
            async with running(bridge):
                async with by_password(broker, deploy, "button") as button:
                    await raised(button)
                async with by_password(broker, deploy, "homeassistant") as home:
                    await value(home, "homeassistant/device/sosbridge_transmitter_home/config", '"components"')
            assert [each.kind for each in receiver.arrivals if each.kind == "alarm"] == ["alarm"]

    with ShippedBroker(deploy) as broker:
        asyncio.run(scenario())


@pytest.fixture
def certificates(deploy: Path) -> Path:
    """Certificates for all users as the shipped program makes them, and one user that the access list knows not."""
    folder = deploy / "site/certificates"
    make = (deploy / "mosquitto/certificates", folder, "127.0.0.1", "bridge", "reader", "button", "stranger")
    run(*make)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    run(*make)
    assert first == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())
    return folder


def over_tls(broker: ShippedBroker, certificates: Path, user: str) -> aiomqtt.Client:
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 has it by default
    context.load_cert_chain(certificates / f"{user}.pem", certificates / f"{user}.key")
    return aiomqtt.Client("127.0.0.1", broker.tls_port, tls_context=context)


def test_by_client_certificate(deploy: Path, certificates: Path) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60), receiving(deploy) as (receiver, addresses):
            settings: dict[str, object] = {
                "mqtt.port": broker.tls_port,
                "mqtt.tls.ca_file": certificates / "ca.pem",
                "mqtt.tls.cert_file": certificates / "bridge.pem",
                "mqtt.tls.key_file": certificates / "bridge.key",
                **addresses,
            }
            async with running(Installed(deploy, settings)), over_tls(broker, certificates, "reader") as reader:
                async with over_tls(broker, certificates, "button") as button:
                    await raised(button)
                # A reader and a stranger command nothing: the alarm of the button stays the only one.
                async with over_tls(broker, certificates, "stranger") as stranger:
                    for client in (reader, stranger):
                        await client.publish("sosbridge/transmitter/home/alarm/raise", "FA", qos=1)
                async with over_tls(broker, certificates, "button") as button:
                    await button.publish("sosbridge/transmitter/home/alarm/raise", '{"event_code": "PA"}', qos=1)
                await value(reader, "sosbridge/transmitter/home/alarm/response", '"PA"')
            codes = [getattr(each.request, "event_code", None) for each in receiver.arrivals if each.kind == "alarm"]
            assert codes == ["BA", "PA"]

    with ShippedBroker(deploy, ["tls.conf"]) as broker:
        asyncio.run(scenario())


def test_nobody_comes_in_without_a_certificate(deploy: Path, certificates: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run(DEPLOY / "mosquitto/certificates", other, "127.0.0.1", "bridge")
    shutil.copy(certificates / "ca.pem", other / "ca.pem")  # it trusts the broker; the broker does not know its own

    def known(authority: Path, user: str | None, **login: Any) -> Broker:  # noqa: ANN401
        """Return the broker to somebody with the certificate of `user`."""
        cert, key = (authority / f"{user}.{kind}" if user else None for kind in ("pem", "key"))
        files: dict[str, Any] = {"ca_file": authority / "ca.pem", "cert_file": cert, "key_file": key}
        return Broker("127.0.0.1", broker.tls_port, tls=True, **files, **login)

    async def scenario() -> None:
        await try_connection(known(certificates, "bridge"))
        secret = Secret(password(deploy, "bridge"))
        for stranger in (
            known(certificates, None),
            known(certificates, None, username="bridge", password=secret),
            known(other, "bridge"),
        ):
            with pytest.raises(BrokerError):
                await try_connection(stranger)

    with ShippedBroker(deploy, ["tls.conf"]) as broker:
        asyncio.run(scenario())


def test_the_authority_is_strictly_right(certificates: Path) -> None:
    for name, purpose in (("broker", "sslserver"), ("bridge", "sslclient")):
        authority = ("-CAfile", certificates / "ca.pem")
        run("openssl", "verify", "-x509_strict", "-purpose", purpose, *authority, certificates / f"{name}.pem")
