"""Reads a receiver's certificate (DER) without trusting it, for the error that it is not trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from bridge.common.text import clean

_COMMON_NAME, _ORGANISATION, _ALTERNATIVE_NAMES = b"\x55\x04\x03", b"\x55\x04\x0a", b"\x55\x1d\x11"
"""Object identifiers 2.5.4.3, 2.5.4.10, 2.5.29.17."""
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_UTF16_STRING = 0x1E
_MOST_NAMES = 4
_LONGEST_NAME = 60


def fingerprint(certificate: bytes) -> bytes:
    """Return the SHA-256 of a DER certificate, as `openssl x509 -fingerprint -sha256` shows it."""
    return hashlib.sha256(certificate).digest()


@dataclass(frozen=True, slots=True)
class Certificate:
    """The names that a certificate is for, and its issuer."""

    names: tuple[str, ...]
    issuer: str

    @classmethod
    def from_der(cls, der: bytes) -> Certificate:
        """Read an X.509 certificate (RFC 5280, 4.1). Raises ValueError if it is not one."""
        try:
            fields = [each for each in _values(_content(_content(der))) if each[0] != _VERSION]
            _serial, _signature, issuer, _validity, subject, _key, *rest = fields
            names = [name for tag, text in rest if tag == _EXTENSIONS for name in _alternative_names(text)]
            return cls(tuple(dict.fromkeys(names or [_name(subject[1])])), _name(issuer[1]))
        except IndexError:
            raise ValueError("not an X.509 certificate") from None

    def __str__(self) -> str:
        """The names and the issuer, for a message."""
        names = [clean(name, _LONGEST_NAME) for name in self.names[:_MOST_NAMES]]
        more = ["..."] * (len(self.names) > _MOST_NAMES)
        return f"for {', '.join(names + more)}, issued by {clean(self.issuer, _LONGEST_NAME)}"


def _values(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each value in `der`. Raises IndexError or ValueError for anything else."""
    at = 0
    while at < len(der):
        start, size = at + 2, der[at + 1]
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(der[at + 2 : start], "big")
        if start + size > len(der):
            raise ValueError("cut off")
        yield der[at], der[start : start + size]
        at = start + size


def _content(der: bytes) -> bytes:
    """Return the content of the first value in `der`."""
    return next((content for _, content in _values(der)), b"")


def _name(der: bytes) -> str:
    """Return the common name of a distinguished name, else the organisation."""
    found = {}
    for _, one in _values(der):
        for _, attribute in _values(one):
            (_, kind), (tag, text), *_ = _values(attribute)
            found[kind] = text.decode("utf-16-be" if tag == _UTF16_STRING else "utf-8", "replace")
    return found.get(_COMMON_NAME) or found.get(_ORGANISATION) or "nobody"


def _alternative_names(der: bytes) -> Iterator[str]:
    for _, extension in _values(_content(der)):
        (_, kind), *_, (_, content) = _values(extension)
        if kind != _ALTERNATIVE_NAMES:
            continue
        for tag, name in _values(_content(content)):
            if tag == _DNS_NAME:
                yield name.decode("ascii", "replace")
            elif tag == _IP_ADDRESS:
                yield str(ip_address(name))
