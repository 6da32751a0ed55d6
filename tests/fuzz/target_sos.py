"""What the two ends of SOS Access send: a receiver's responses, a transmitter's requests."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from random import Random

from fuzz.target import MARK, Target, hidden

from bridge.sos_access.documents import LONGEST, DocumentBuffer
from bridge.sos_access.messages import AlarmResponse, NewAuthResponse, PingResponse, parse_request
from bridge.sos_access.simulator.rules import read_request, refuse
from bridge.sos_access.status import MalformedMessage, Status

_NOW = datetime(2026, 1, 1).astimezone()
_PASSWORD = rb"<(?:new)?authentication>"


def responses(data: bytes) -> str:
    """Read a response as each kind, and as it arrives in pieces."""
    found = [_arrived(data)]
    for kind in (AlarmResponse, PingResponse, NewAuthResponse):
        try:
            response = kind.from_xml(data)
        except MalformedMessage as error:
            _quiet(data, error)
            found.append(f"{error.reason.name} {error}")
        else:
            _quiet(data, response)
            assert kind.from_xml(response.to_xml()) == response
            found.append(kind.__name__)
    return " ".join(found)


def requests(data: bytes) -> str:
    """Read a request as the receiver does, and answer it."""
    found = [_arrived(data)]
    try:
        request = parse_request(data)
    except MalformedMessage as error:
        _quiet(data, error)
        found.append(f"{error.reason.name} {error}")
    else:
        _quiet(data, request)
        assert parse_request(request.to_xml()) == request
        found.append(type(request).__name__)
    for status in (Status.OK, read_request(data)):
        answer = refuse(data, status if isinstance(status, Status) else Status.OK, _NOW)
        _quiet(data, answer)
        assert type(answer).from_xml(answer.to_xml()) == answer
    return " ".join(found)


def _quiet(data: bytes, *shown: object) -> None:
    """Say no password; text in a CDATA section is not one, whatever it looks like."""
    if b"CDATA" not in data:
        hidden(data, _PASSWORD, *shown)


def _arrived(data: bytes) -> str:
    """Feed `data` in pieces: the document ends in the same place as when it comes at once."""
    random = Random(data)
    whole, pieces = DocumentBuffer(), DocumentBuffer()
    outcomes = []
    for buffer, size in ((whole, len(data) or 1), (pieces, random.choice((1, 2, 7, 100)))):
        outcome = "open"
        try:
            for start in range(0, len(data), size):
                if buffer.feed(data[start : start + size]):
                    break
            if buffer.finish():  # reads what waited for a larger piece
                outcome = f"whole {buffer.document!r}"
        except MalformedMessage as error:
            outcome = error.reason.name
        assert len(buffer) <= 2 * LONGEST
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1], f"cut in pieces of {size}: {outcomes}"
    return outcomes[0].split(" ")[0]


def _with_header(data: bytes, random: Random) -> bytes:
    """Put the right header first, and close what is open, so that what is inside is read."""
    body = data[data.find(b"?>") + 2 :].lstrip() if data.startswith(b"<?xml") else data
    with suppress(IndexError):
        root = body[1:].split(b">", 1)[0].split(b" ", 1)[0]
        if random.random() < 0.5 and root and not body.rstrip().endswith(b"</" + root + b">"):
            body += b"</" + root + b">"
    return b'<?xml version="1.0" encoding="ISO-8859-1"?>' + body


_NAMES = (
    b"reference authentication newauthentication receiver transmittertime alarmtype transmittertype transmittercode "
    b"transmitterarea eventcode section sectiontext detector detectortext additionalinfo position pos status info "
    b"arrivaltime alarmrequest pingrequest requestnewauthentication alarmresponse pingresponse "
    b"requestnewauthenticationresponse"
).split()
_MARKUP = (
    b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?", b"?>", b"<!DOCTYPE a [", b'<!ENTITY x "xxxxxxxxxx">', b"&x;",
    b"&amp;", b"&#0;", b"&#229;", b"&lt;", b"/>", b"</", b'a="1" ',
    b' xmlns:x="y"', b"x:", b"'", b'"', b"<a>", b"</a>",
    b'<?xml version="1.0" encoding="UTF-8"?>', b'<?xml version="1.1"?>', b"\xef\xbb\xbf", b"\xff\xfe", MARK.encode(),
)  # fmt: skip
_TOKENS = (*_MARKUP, *(b"<" + name + b">" for name in _NAMES), *(b"</" + name + b">" for name in _NAMES))
TARGETS = (
    Target("sos-response", responses, _TOKENS, _with_header),
    Target("sos-request", requests, _TOKENS, _with_header),
)
