"""Text for logs and topics: what came from a peer, and times."""

from __future__ import annotations

from datetime import datetime

_LONGEST = 200


def clean(peer_text: object, longest: int = _LONGEST) -> str:
    """Return `peer_text` on one line: control and other unprintable characters escaped, cut at `longest` characters."""
    text = str(peer_text)
    if len(text) <= longest and text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:longest])
    return shown if len(text) <= longest and len(shown) <= longest else f"{shown[:longest]}…"


def timestamp(moment: datetime) -> str:
    """Return ISO 8601 with offset, to the millisecond; a time without a zone is local."""
    return moment.astimezone().isoformat(timespec="milliseconds")
