"""Verification of a receiver's certificate: `tls_verify` as an SSL context (PROTOCOL.md, TLS)."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from bridge.common.errors import ConfigError
from bridge.common.text import clean
from bridge.sos_access.certificate import Certificate, fingerprint

_PIN = "sha256:"
_HOST_NAME = re.compile(r"(?=.*[a-z])[a-z0-9_.-]{1,60}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{64}")
# For receivers with legacy renegotiation. The name exists from Python 3.12 on, the option in every OpenSSL 3.
_OLD_RENEGOTIATION = getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """An SSL context and, for pinned receivers, the SHA-256 of each certificate that is trusted."""

    context: ssl.SSLContext
    pins: tuple[bytes, ...] = ()

    def trusts(self, certificate: bytes | None) -> bool:
        """Whether `certificate` (DER) is trusted after the context has accepted it."""
        return not self.pins or (certificate is not None and fingerprint(certificate) in self.pins)

    def advice(self, certificate: bytes | None, *, wrong_name: bool = False) -> str:
        """Return the setting that trusts `certificate` (DER) as well, and what it says, to follow a message.

        `wrong_name`: it was refused for its name alone.
        """
        if certificate is None:
            return ""
        pins = dict.fromkeys((*self.pins, fingerprint(certificate)))
        pinned = f'tls_verify = "{",".join(_PIN + pin.hex() for pin in pins)}"'
        try:
            found = Certificate.from_der(certificate)
        except ValueError as error:
            return f"; it is {error}"
        name = next((name for name in found.names if _HOST_NAME.fullmatch(name)), None) if wrong_name else None
        named = f'tls_name = "{name}", or ' if name else ""
        return f"; if it is your operator's: {named}{pinned} ({found})"


def tls_context(verify: str) -> TlsPolicy:
    """Return the policy for `none`, `system`, a CA file's path, or `sha256:` and a fingerprint in hex.

    Several fingerprints are separated by commas. Raises `ConfigError`.
    """
    if verify == "none":
        return TlsPolicy(unverified(old_receivers=True))
    if verify == "system":
        return TlsPolicy(_lenient(ssl.create_default_context()))
    if verify.lower().startswith(_PIN):
        return TlsPolicy(unverified(), tuple(_pin(pin.strip()) for pin in verify.split(",")))
    return TlsPolicy(_with_ca_file(verify))


def unverified(*, old_receivers: bool = False) -> ssl.SSLContext:
    """Return a context that accepts any certificate: for `none`, for pins, to read an untrusted one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if old_receivers:
        # Without verification, TLS 1.0 and short keys lose nothing, and old receivers need them.
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.options |= _OLD_RENEGOTIATION
    return context


def _lenient(context: ssl.SSLContext) -> ssl.SSLContext:
    """Trust what Python before 3.13 trusts; later ones refuse a private CA without key usage."""
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _pin(text: str) -> bytes:
    digits = text[len(_PIN) :].replace(":", "").strip().lower()
    if not text.lower().startswith(_PIN) or not _HEX.fullmatch(digits):
        raise ConfigError(f"tls_verify: {clean(text, 80)!r} is not a fingerprint; use {_PIN} and 64 hexadecimal digits")
    return bytes.fromhex(digits)


def _with_ca_file(path: str) -> ssl.SSLContext:
    if not _is_file(path):
        raise ConfigError(f"tls_verify: {clean(path)!r} is not a file; use system, a CA file, sha256:... or none")
    try:
        return _lenient(ssl.create_default_context(cafile=path))
    except OSError as error:  # ssl.SSLError among them
        raise ConfigError(f"tls_verify: {clean(path)} has no CA certificates in PEM format: {clean(error)}") from None


def _is_file(path: str) -> bool:
    try:
        return bool(path) and Path(path).is_file()
    except OSError:  # such as a name that is too long
        return False
