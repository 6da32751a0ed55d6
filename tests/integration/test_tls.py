"""TLS and WebSockets to the broker, TLS to the receivers; what is not trusted is said in a clear line."""

from __future__ import annotations

import re
import ssl
import subprocess
from pathlib import Path

import pytest
from support.brokers import Mosquitto, free_port
from support.harness import Site, Station, live


class Authority:
    """A certificate authority of a test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.pem"
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test authority")

    def _openssl(self, *arguments: str) -> None:
        files = ["-keyout", str(self.folder / "ca.key"), "-out", str(self.certificate)]
        subprocess.run(["openssl", *arguments, *files], check=True, capture_output=True)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return certificate and key for 127.0.0.1 in the name of `name`."""
        key, request, certificate = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        extension = self.folder / "extension"
        extension.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        signer = ["-CA", self.certificate, "-CAkey", self.folder / "ca.key", "-CAcreateserial"]
        for command in (
            ["req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request],
            ["x509", "-req", "-in", request, "-days", "2", "-extfile", extension, "-out", certificate, *signer],
        ):
            subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)
        return certificate, key


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"))


class _DoubleBroker(Mosquitto):
    """A broker with a second listener beside that of the tests' own client."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.second = free_port()
        super().__init__(folder, listener=[f"listener {self.second} 127.0.0.1", *lines])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "broker"
    folder.mkdir()
    return folder


def _secured(folder: Path, authority: Authority) -> _DoubleBroker:
    certificate, key = authority.issue("broker")
    files = [f"cafile {authority.certificate}", f"certfile {certificate}", f"keyfile {key}"]
    return _DoubleBroker(folder, *files, "require_certificate true")


def test_tls_with_a_client_certificate(authority: Authority, folder: Path, tmp_path: Path, base: str) -> None:
    certificate, key = authority.issue("bridge")

    @live
    async def scenario(site: Site) -> None:
        site.settings["mqtt"] |= {"port": broker.second}
        site.settings["mqtt"]["tls"] = {
            "ca_file": str(authority.certificate),
            "cert_file": str(certificate),
            "key_file": str(key),
        }
        await site.start()
        assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
        assert await site.bridge.stop(5) == 0

    with _secured(folder, authority) as broker:
        scenario(site=Site(broker, tmp_path, base))


def test_a_broker_that_is_not_trusted(
    authority: Authority, stranger: Authority, folder: Path, tmp_path: Path, base: str
) -> None:
    @live
    async def scenario(site: Site) -> None:
        site.settings["mqtt"] |= {"port": broker.second, "tls": {"ca_file": str(stranger.certificate)}}
        site.launch()
        line = await site.bridge.logs("next try in")
        assert "certificate is not trusted (mqtt.tls.ca_file)" in line
        assert await site.bridge.stop(5) == 0
        site.settings["mqtt"]["tls"]["ca_file"] = str(tmp_path / "nowhere.pem")
        site.launch()
        assert await site.bridge.ends() == 2
        assert "mqtt.tls.ca_file" in site.bridge.log.splitlines()[-1]

    with _secured(folder, authority) as broker:
        scenario(site=Site(broker, tmp_path, base))


def test_a_client_certificate_is_missing(authority: Authority, folder: Path, tmp_path: Path, base: str) -> None:
    @live
    async def scenario(site: Site) -> None:
        site.settings["mqtt"] |= {"port": broker.second, "tls": {"ca_file": str(authority.certificate)}}
        site.launch()
        line = await site.bridge.logs("next try in")
        assert "does it want a client certificate?" in line
        assert await site.bridge.stop(5) == 0

    with _secured(folder, authority) as broker:
        scenario(site=Site(broker, tmp_path, base))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_websockets(folder: Path, tmp_path: Path, base: str, protocol: str) -> None:
    @live
    async def scenario(site: Site) -> None:
        site.settings["mqtt"] |= {"port": broker.second, "transport": "websockets", "protocol": protocol}
        await site.start()
        assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
        mark = site.mqtt.mark
        await site.restart()
        assert (await site.do("ping"))["outcome"] == "accepted"
        assert await site.bridge.stop(5) == 0
        await site.mqtt.wait("bridge/state", lambda value: value == "offline", after=mark)

    with _DoubleBroker(folder, "protocol websockets") as broker:
        scenario(site=Site(broker, tmp_path, base))


@live
async def test_tls_to_the_receivers(site: Site, authority: Authority, stranger: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("receiver"))
    secured = Station(site.accounts, tls=context, ping_interval_min=0)
    await site.stack.enter_async_context(secured)
    home = site.home
    home |= {"receiver": f"127.0.0.1:{secured.address[1]}", "use_tls": True, "use_single_receiver": True}
    del home["secondary_receiver"]
    for verify, outcome in (
        (str(authority.certificate), "accepted"),
        (str(stranger.certificate), "unreachable"),
        ("none", "accepted"),
    ):
        home["tls_verify"] = verify
        await site.start()
        assert (await site.do("ping"))["outcome"] == outcome
        assert ("any server can pose as the receiver" in site.bridge.log) == (verify == "none")
        site.bridge.kill()


@live
async def test_a_receiver_that_is_not_trusted_is_pinned_by_the_line_in_the_log(
    site: Site, authority: Authority
) -> None:
    """Verification is the default, and what it refuses says in the log, on MQTT and in `check` what to write."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("receiver"))
    secured = Station(site.accounts, tls=context, ping_interval_min=0)
    await site.stack.enter_async_context(secured)
    home = site.home
    home |= {"receiver": f"127.0.0.1:{secured.address[1]}", "use_tls": True, "use_single_receiver": True}
    del home["secondary_receiver"]
    await site.start()
    refused = await site.do("ping")
    assert refused["outcome"] == "unreachable"
    assert "(for localhost, 127.0.0.1, issued by test authority)" in refused["error"]
    [pin] = re.findall(r'tls_verify = "(sha256:[0-9a-f]{64})"', refused["error"])
    assert pin in site.bridge.log
    assert not secured.arrivals
    site.bridge.kill()
    home["tls_verify"] = pin
    await site.start()
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    site.bridge.kill()
