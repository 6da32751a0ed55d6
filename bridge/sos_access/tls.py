"""How far a receiver's certificate is trusted: `tls_verify` made into an SSL context (protocol page, TLS)."""

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
# Receivers that renegotiate the old way; the name exists from Python 3.12, the option in every OpenSSL 3.
_OLD_RENEGOTIATION = getattr(ssl, "OP_LEGACY_SERVER_CONNECT", 0x4)


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """An SSL context and, for a pinned receiver, the SHA-256 of the one certificate that it may show."""

    context: ssl.SSLContext
    fingerprint: bytes | None = None

    def trusts(self, certificate: bytes | None) -> bool:
        """Whether a peer that showed `certificate` (DER) may be spoken to, once the context has let it pass."""
        if self.fingerprint is None:
            return True
        return certificate is not None and hmac.compare_digest(fingerprint(certificate), self.fingerprint)


def fingerprint(certificate: bytes) -> bytes:
    """Return the SHA-256 of a DER certificate, as `openssl x509 -fingerprint -sha256` shows it."""
    return hashlib.sha256(certificate).digest()


def tls_context(verify: str) -> TlsPolicy:
    """Return the policy for `none`, `system`, the path of a CA file, or `sha256:` and a fingerprint in hex.

    Raises `ConfigError`, which names what is wrong with the value.
    """
    if verify == "none":
        return TlsPolicy(_unverified(old_receivers=True))
    if verify == "system":
        return TlsPolicy(_alike(ssl.create_default_context()))
    if verify.lower().startswith(_PIN):
        return TlsPolicy(_unverified(old_receivers=False), _pin(verify[len(_PIN) :]))
    return TlsPolicy(_with_ca_file(verify))


def _unverified(*, old_receivers: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if old_receivers:
        # What verifies nothing loses nothing by TLS 1.0 or a short key, and an alarm comes through.
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.options |= _OLD_RENEGOTIATION
    return context


def _alike(context: ssl.SSLContext) -> ssl.SSLContext:
    """Trust what earlier Pythons trust: from 3.13 on an authority of one's own without a key usage would be refused."""
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _pin(text: str) -> bytes:
    digits = text.replace(":", "").strip().lower()
    if not _HEX.fullmatch(digits):
        raise ConfigError(f"tls_verify: {_PIN} should be followed by 64 hexadecimal digits, not {clean(text, 80)}")
    return bytes.fromhex(digits)


def _with_ca_file(path: str) -> ssl.SSLContext:
    if not _is_file(path):
        raise ConfigError(f"tls_verify: {clean(path)} is neither none, system, sha256:... nor a file that exists")
    try:
        return _alike(ssl.create_default_context(cafile=path))
    except OSError as error:  # ssl.SSLError among them
        raise ConfigError(f"tls_verify: {clean(path)} holds no CA certificates in PEM: {clean(error)}") from None


def _is_file(path: str) -> bool:
    try:
        return bool(path) and Path(path).is_file()
    except OSError:  # a name too long to be one
        return False
