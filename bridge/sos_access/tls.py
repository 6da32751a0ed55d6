"""Verification of a receiver's certificate: `tls_verify` as an SSL context (PROTOCOL.md, TLS)."""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from bridge.common.errors import ConfigError
from bridge.common.text import clean

_PIN = "sha256:"
_HEX = re.compile(r"[0-9a-f]{64}")
# For receivers with legacy renegotiation. The name exists from Python 3.12 on, the option in every OpenSSL 3.
_OLD_RENEGOTIATION = getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """An SSL context and, for a pinned receiver, the SHA-256 of its certificate."""

    context: ssl.SSLContext
    fingerprint: bytes | None = None

    def trusts(self, certificate: bytes | None) -> bool:
        """Whether `certificate` (DER) is trusted after the context has accepted it."""
        if self.fingerprint is None:
            return True
        return certificate is not None and hmac.compare_digest(fingerprint(certificate), self.fingerprint)


def fingerprint(certificate: bytes) -> bytes:
    """Return the SHA-256 of a DER certificate, as `openssl x509 -fingerprint -sha256` shows it."""
    return hashlib.sha256(certificate).digest()


def tls_context(verify: str) -> TlsPolicy:
    """Return the policy for `none`, `system`, a CA file's path, or `sha256:` and a fingerprint in hex.

    Raises `ConfigError`.
    """
    if verify == "none":
        return TlsPolicy(_unverified(old_receivers=True))
    if verify == "system":
        return TlsPolicy(_lenient(ssl.create_default_context()))
    if verify.lower().startswith(_PIN):
        return TlsPolicy(_unverified(old_receivers=False), _pin(verify[len(_PIN) :]))
    return TlsPolicy(_with_ca_file(verify))


def _unverified(*, old_receivers: bool) -> ssl.SSLContext:
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
    digits = text.replace(":", "").strip().lower()
    if not _HEX.fullmatch(digits):
        raise ConfigError(f"tls_verify: {clean(text, 80)!r} is not a fingerprint; use {_PIN} and 64 hexadecimal digits")
    return bytes.fromhex(digits)


def _with_ca_file(path: str) -> ssl.SSLContext:
    if not _is_file(path):
        raise ConfigError(f"tls_verify: {clean(path)!r} is not a file; use none, system, sha256:... or a CA file")
    try:
        return _lenient(ssl.create_default_context(cafile=path))
    except OSError as error:  # ssl.SSLError among them
        raise ConfigError(f"tls_verify: {clean(path)} has no CA certificates in PEM format: {clean(error)}") from None


def _is_file(path: str) -> bool:
    try:
        return bool(path) and Path(path).is_file()
    except OSError:  # such as a name that is too long
        return False
