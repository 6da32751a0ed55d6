"""What a message may not be, from either end: bombs, DTDs, depth, length, encodings, headers. Each has its reason."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import pytest

from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.documents import LONGEST, DocumentBuffer
from bridge.sos_access.messages import (
    AlarmRequest,
    AlarmResponse,
    NewAuthRequest,
    NewAuthResponse,
    PingRequest,
    PingResponse,
    parse_request,
)
from bridge.sos_access.simulator.receiver import Accounts, Receiver
from bridge.sos_access.simulator.rules import read_request, refuse
from bridge.sos_access.status import MalformedMessage, ReceiversUnavailable, Status

CODE, PASSWORD = "IK00001", "limits-password"
HEADER = b'<?xml version="1.0" encoding="ISO-8859-1"?>'
KINDS = (AlarmResponse, PingResponse, NewAuthResponse, AlarmRequest, PingRequest, NewAuthRequest)
NO_XML = (Status.INVALID_XML, Status.XML_HEADER_MISSING_OR_INVALID)
Read = Callable[[bytes], object]


def response(inside: bytes = b"", header: bytes = HEADER) -> bytes:
    return header + b"<alarmresponse>%b<status>0</status><info>OK</info></alarmresponse>" % inside


def request(inside: bytes = b"", header: bytes = HEADER) -> bytes:
    elements = b"<authentication>%b</authentication><receiver>ALARM-OPER</receiver>" % PASSWORD.encode()
    elements += b"<transmittertype>SV300</transmittertype><transmittercode>IK00001</transmittercode>"
    return header + b"<alarmrequest>%b%b<eventcode>BA</eventcode></alarmrequest>" % (inside, elements)


ENDS = [
    pytest.param(response, AlarmResponse.from_xml, id="response"),
    pytest.param(request, parse_request, id="request"),
]
both = pytest.mark.parametrize(("document", "read"), ENDS)


def refused(read: Read, data: bytes) -> Status:
    """Return why `data` is refused, cheaply and without its password."""
    tracemalloc.start()
    begun = time.process_time()
    try:
        with pytest.raises(MalformedMessage) as caught:
            read(data)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 1
    assert most < 3 * len(data) + (1 << 20)
    assert PASSWORD not in str(caught.value)
    return caught.value.reason


def doctype(entities: bytes, root: bytes = b"a") -> bytes:
    return HEADER + b"<!DOCTYPE %b [%b]>" % (root, entities)


BILLION_LAUGHS = b'<!ENTITY l0 "lol">' + b"".join(
    b'<!ENTITY l%d "%b">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10)
)
DTDS = {
    "billion laughs": (doctype(BILLION_LAUGHS), b"<reference>&l9;</reference>"),
    "quadratic blow-up": (
        doctype(b'<!ENTITY a "%b">' % (b"a" * 20_000)),
        b"<reference>%b</reference>" % (b"&a;" * 9000),
    ),
    "a file": (doctype(b'<!ENTITY f SYSTEM "file:///etc/passwd">'), b"<reference>&f;</reference>"),
    "a URL": (doctype(b'<!ENTITY u SYSTEM "http://127.0.0.1:9/x">'), b"<reference>&u;</reference>"),
    "a parameter entity": (doctype(b'<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;'), b""),
    "an external DTD": (HEADER + b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/x.dtd">', b""),
    "an empty DTD": (HEADER + b"<!DOCTYPE alarmresponse>", b""),
    "a DTD in small letters": (HEADER + b"<!doctype a>", b""),
    "attributes that default": (doctype(b'<!ATTLIST alarmresponse status CDATA "0">'), b""),
}


@both
@pytest.mark.parametrize("dtd", DTDS)
def test_a_dtd(document: Callable[..., bytes], read: Read, dtd: str) -> None:
    header, inside = DTDS[dtd]
    assert refused(read, document(inside, header)) == Status.INVALID_XML


@both
def test_an_entity_that_nobody_declared(document: Callable[..., bytes], read: Read) -> None:
    assert refused(read, document(b"<reference>&x;</reference>")) == Status.INVALID_XML


@both
def test_the_five_entities_of_xml_and_characters_by_number(document: Callable[..., bytes], read: Read) -> None:
    message = read(document(b"<reference>&lt;&gt;&amp;&apos;&quot;&#229;&#xE4;</reference>"))
    assert message.reference == "<>&'\"åä"  # type: ignore[attr-defined]


@both
@pytest.mark.parametrize("depth", [9, 100, 5000])
def test_depth(document: Callable[..., bytes], read: Read, depth: int) -> None:
    assert refused(read, document(b"<a>" * depth + b"</a>" * depth)) == Status.INVALID_XML


def test_depth_is_refused_before_the_message_is_whole() -> None:
    buffer = DocumentBuffer()
    with pytest.raises(MalformedMessage):
        buffer.feed(HEADER + b"<a>" * 9)


@both
def test_100_000_characters_and_one_more(document: Callable[..., bytes], read: Read) -> None:
    filler = LONGEST - len(document(b"<!---->"))
    longest = document(b"<!--%b-->" % (b"x" * filler))
    assert len(longest) == 100_000
    assert read(longest) == read(document())
    assert refused(read, document(b"<!--%b-->" % (b"x" * (filler + 1)))) == Status.INVALID_LENGTH


@both
def test_no_end_of_it(document: Callable[..., bytes], read: Read) -> None:
    assert refused(read, document(b"<info>" + b"x" * 1_000_000)) == Status.INVALID_LENGTH
    buffer = DocumentBuffer()
    for _ in range(99):
        buffer.feed(b"<a" + b" " * 1000)
    with pytest.raises(MalformedMessage):
        buffer.feed(b" " * 1000)


@both
@pytest.mark.parametrize("length", [0, 1, 5, 20, 60, -1, -8, -20])
def test_cut_off(document: Callable[..., bytes], read: Read, length: int) -> None:
    assert refused(read, document()[:length]) in NO_XML


@both
@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        b"<a>\0</a>",
        b"\0<a></a>",
        b"\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"{}",
        b"<>",
        b"</a>",
    ],
    ids=repr,
)
def test_no_xml_at_all(document: Callable[..., bytes], read: Read, data: bytes) -> None:
    assert refused(read, data) == Status.INVALID_XML


@both
@pytest.mark.parametrize("nul", [b"\0", b"&#0;", b"&#x0;", b"\x08", b"&#8;", b"\x0b"])
def test_nul_and_control_characters(document: Callable[..., bytes], read: Read, nul: bytes) -> None:
    assert refused(read, document(b"<reference>a%bb</reference>" % nul)) == Status.INVALID_XML


@both
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_another_encoding(document: Callable[..., bytes], read: Read, encoding: str) -> None:
    assert refused(read, document().decode().encode(encoding)) in NO_XML


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml version="1.0"?>', Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml version="1.0" encoding="UTF-8"?>', Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml version="1.1" encoding="ISO-8859-1"?>', Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml version="1.0" encoding="ISO-8859-15"?>', Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml encoding="ISO-8859-1" version="1.0"?>', Status.XML_HEADER_MISSING_OR_INVALID),
        (HEADER + HEADER, Status.INVALID_XML),
        (b"<!-- first -->" + HEADER, Status.INVALID_XML),
    ],
)
def test_another_header_of_a_request(header: bytes, reason: Status) -> None:
    assert refused(parse_request, request(header=header)) == reason
    assert read_request(request(header=header)) == reason


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b'<?xml version="1.0"?>',
        b'<?xml version="1.0" encoding="UTF-8"?>',
        b"\xef\xbb\xbf" + HEADER,
        b"\r\n\t " + HEADER,
    ],
)
def test_another_header_of_a_response_is_no_reason_to_send_an_alarm_again(header: bytes) -> None:
    assert AlarmResponse.from_xml(response(header=header)).accepted


@both
def test_a_flood_of_attributes(document: Callable[..., bytes], read: Read) -> None:
    flood = b" ".join(b'a%d="x"' % n for n in range(5000))
    assert read(document(b"<section %b>1</section>" % flood)) is not None
    assert refused(read, document(b'<section a="1" a="2">1</section>')) == Status.INVALID_XML
    assert refused(read, document(b"<section %b" % (b'a="x" ' * 20_000))) == Status.INVALID_LENGTH


@both
def test_a_flood_of_elements(document: Callable[..., bytes], read: Read) -> None:
    many = b"<x/>" * 20_000
    assert read(document(many)) == read(document())
    names = b"".join(b"<x%d/>" % n for n in range(9000))
    assert read(document(names)) == read(document())


def test_a_repeated_element() -> None:
    assert refused(parse_request, request(b"<eventcode>FA</eventcode>")) == Status.WRONG_CONTENT
    assert AlarmResponse.from_xml(response(b"<info>first</info>")).info == "first"


@both
def test_namespaces_are_other_names(document: Callable[..., bytes], read: Read) -> None:
    assert read(document(b'<x:reference xmlns:x="urn:x">1</x:reference>')) == read(document())


@pytest.mark.parametrize(
    "kind", [AlarmResponse, PingResponse, NewAuthResponse, AlarmRequest, PingRequest, NewAuthRequest]
)
@pytest.mark.parametrize("data", [response(), request(), HEADER + b"<other/>"])
def test_another_root(kind: type[AlarmResponse], data: bytes) -> None:
    if b"<" + kind.ROOT.encode() + b">" not in data:
        assert refused(kind.from_xml, data) == Status.INVALID_XML


def test_what_is_refused_is_answered_without_its_password() -> None:
    for data in (
        request(header=b""),
        request(b"<!DOCTYPE a>"),
        request(b"<a>" * 20),
        b"\0" * 100,
        request(b"x" * LONGEST),
    ):
        status = read_request(data)
        assert isinstance(status, Status)
        answer = refuse(data, status, datetime.now().astimezone()).to_xml()
        assert PASSWORD.encode() not in answer
        assert AlarmResponse.from_xml(answer).status == status


BAD = [
    response(header=DTDS["billion laughs"][0]),
    response(b"<a>" * 100),
    response(b"<info>" + b"x" * LONGEST),
    response().decode().encode("utf-16"),
    b"\0" * 1000,
]


@pytest.mark.parametrize("answer", BAD, ids=["bomb", "deep", "long", "utf-16", "nul"])
def test_a_receiver_that_answers_so(answer: bytes) -> None:
    """The alarm was not taken: the round fails, at once and in words."""

    async def hostile(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"</alarmrequest>")
        writer.write(answer)
        with suppress(OSError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def scenario() -> None:
        server = await asyncio.start_server(hostile, "127.0.0.1", 0)
        async with server, asyncio.timeout(20):
            address = server.sockets[0].getsockname()
            client = AsyncSOSAccessClient(CODE, "SV300", PASSWORD, "ALARM-OPER", address, use_single_receiver=True)
            with pytest.raises(ReceiversUnavailable) as caught:
                await client.send_alarm("BA")
            assert PASSWORD not in str(caught.value)

    asyncio.run(scenario())


@pytest.mark.parametrize("sent", BAD, ids=["bomb", "deep", "long", "utf-16", "nul"])
def test_a_transmitter_that_asks_so(sent: bytes) -> None:
    """It is told why, and the next one is served."""

    async def scenario() -> None:
        async with Receiver(Accounts({CODE: PASSWORD})) as receiver, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(*receiver.address)
            writer.write(sent)
            writer.write_eof()
            assert AlarmResponse.from_xml(await reader.read()).status in {1, 2, 100}
            writer.close()
            client = AsyncSOSAccessClient(
                CODE, "SV300", PASSWORD, "ALARM-OPER", receiver.address, use_single_receiver=True
            )
            assert (await client.send_alarm("BA")).accepted

    asyncio.run(scenario())
