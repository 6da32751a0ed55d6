"""What is read from a certificate, and that no bytes of a peer break the reading."""

from __future__ import annotations

import ssl
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sos_access.certificate import Certificate


def made(folder: Path, subject: str, *names: str) -> bytes:
    """Return a self-signed certificate (DER)."""
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    extension = ["-addext", f"subjectAltName={','.join(names)}"] if names else []
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-utf8",
        "-subj",
        subject,
        *files,
        *extension,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())


@pytest.mark.parametrize(
    ("subject", "names", "text"),
    [
        ("/O=Larm AB/CN=alarm.example.com", (), "for alarm.example.com, issued by alarm.example.com"),
        ("/O=Lärmcentralen", (), "for Lärmcentralen, issued by Lärmcentralen"),
        (
            "/CN=old",
            ("DNS:a.example", "IP:192.0.2.1", "IP:2001:db8::1"),
            "for a.example, 192.0.2.1, 2001:db8::1, issued",
        ),
        ("/CN=x", tuple(f"DNS:{letter}" for letter in "abcde"), "for a, b, c, d, ..., issued by x"),
        ("/CN=a\x1b[31mb", (), "for a\\x1b[31mb, issued by a\\x1b[31mb"),
    ],
)
def test_names_and_issuer(tmp_path: Path, subject: str, names: tuple[str, ...], text: str) -> None:
    assert str(Certificate.from_der(made(tmp_path, subject, *names))).startswith(text)


@given(st.data())
def test_any_bytes_are_a_certificate_or_a_value_error(certificate: Path, data: st.DataObject) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(certificate.read_text()))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    for text in (bytes(der[: data.draw(st.integers(0, len(der)))]), bytes(der), data.draw(st.binary(max_size=60))):
        try:
            assert str(Certificate.from_der(text)).isprintable()
        except ValueError as error:
            assert str(error)  # noqa: PT017 - most are none


def test_a_large_one_takes_no_time() -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=r"cut off|not an X\.509"):
        Certificate.from_der(b"\x30\x83\x01\x86\xa0" + b"\x30\x83\x01\x86\x9b" + b"\x05\x00" * 49_997)
    assert time.process_time() - started < 1
