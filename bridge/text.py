"""Text that came from a peer, made fit for a log line or a topic."""

_LONGEST = 200


def clean(peer_text: object, longest: int = _LONGEST) -> str:
    """Return `peer_text` on one line: control and other unprintable characters escaped, cut at `longest` characters."""
    text = str(peer_text)
    if len(text) <= longest and text.isprintable():
        return text
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:longest])
    return shown if len(text) <= longest and len(shown) <= longest else f"{shown[:longest]}…"
