"""What several files need: a certificate for 127.0.0.1 and ::1, made once per run."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def self_signed(folder: Path, names: str) -> Path:
    """Return the path of a certificate for `names`; its key lies beside it as `key.pem`."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=receiver"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    for extension in (
        f"subjectAltName={names}",
        "basicConstraints=critical,CA:TRUE",
        "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign",
    ):
        command += ["-addext", extension]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "cert.pem"


def served(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("certificate"), "DNS:localhost,IP:127.0.0.1,IP:::1")


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    return served(certificate)


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for the host names of examples."""
    return self_signed(tmp_path_factory.mktemp("operator"), "DNS:alarm.example.com,DNS:alarm2.example.com")


@pytest.fixture
def operator_tls(operator: Path) -> ssl.SSLContext:
    return served(operator)
