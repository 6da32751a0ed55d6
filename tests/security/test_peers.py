"""Who pretends to be somebody: a receiver with another certificate, a panel at another address."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import subprocess
from pathlib import Path

import pytest
from support.g90 import HELLO, PING, SMOKE_ALARM
from support.harness import Station, live
from support.house import GUID, House


class Identity:
    """A certificate of its own, and what pins it."""

    def __init__(self, folder: Path, name: str) -> None:
        key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=receiver"]
        subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        der = ssl.PEM_cert_to_DER_cert(certificate.read_text())
        self.pin = "sha256:" + hashlib.sha256(der).hexdigest()


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Identity, Identity]:
    """The operator's, and a stranger's with the same name."""
    folder = tmp_path_factory.mktemp("identities")
    return Identity(folder, "operator"), Identity(folder, "stranger")


@live
async def test_a_receiver_whose_certificate_changed_gets_nothing(
    site: House, identities: tuple[Identity, Identity]
) -> None:
    """It is said, the alarm waits, and goes out once the pinned receiver is back."""
    operator, stranger = (Station(site.accounts, tls=each.context, ping_interval_min=0) for each in identities)
    del site.home["secondary_receiver"]
    await operator.start()
    stranger.address = operator.address
    site.settings["transmitters"][0] |= {
        "receiver": f"127.0.0.1:{operator.address[1]}",
        "use_single_receiver": True,
        "use_tls": True,
        "tls_verify": identities[0].pin,
        "heartbeat": "off",
    }
    await site.start()
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    await operator.stop()
    await stranger.start()
    ping = await site.do("ping")
    assert ping["outcome"] == "unreachable"
    assert "does not match the pin" in ping["error"]
    await site.send("alarm/raise", "FA")
    event = await site.mqtt.wait("transmitter/home/event", lambda value: value["type"] == "undelivered")
    assert "does not match the pin" in event.payload
    assert "does not match the pin" in site.bridge.log
    assert stranger.arrivals == []
    await stranger.stop()
    await operator.start()
    assert (await site.result(lambda value: value["event_code"] == "FA"))["outcome"] == "accepted"
    await operator.stop()


@live
async def test_a_panel_is_heard_at_its_own_address_only(site: House) -> None:
    """Its GUID from elsewhere raises no alarm and changes no state, on a connection of its own or without a hello."""
    site.g90["panels"] = [{"guid": GUID, "name": "House", "address": "127.0.0.2/32"}]
    await site.start()

    async def panel(address: str, *messages: bytes) -> bytes:
        """Say something from an address; return the answers up to a ping's, or to the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, local_addr=(address, 0))
        writer.write(b"".join(messages))
        try:
            return await reader.readuntil(PING)
        except asyncio.IncompleteReadError as error:
            return error.partial
        finally:
            writer.close()

    assert await panel("127.0.0.3", HELLO, SMOKE_ALARM, PING) == b""
    refused = await site.event("wrong_address")
    assert (refused.value["guid"], refused.value["address"]) == (GUID, "127.0.0.3")
    assert PING in await panel("127.0.0.3", SMOKE_ALARM, PING)
    await site.event("unattributed")
    assert site.received() == []
    assert not [seen for seen in site.mqtt.seen if seen.topic == f"panel/{GUID}/state"]
    assert PING in await panel("127.0.0.2", HELLO, SMOKE_ALARM, PING)
    await site.told("alarm")
    assert (await site.result())["event_code"] == "FA"
    assert len(site.received()) == 1
