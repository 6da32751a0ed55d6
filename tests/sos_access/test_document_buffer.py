"""What a document buffer keeps, ignores and refuses, piece by piece (PROTOCOL.md, Complete response)."""

from __future__ import annotations

import gc
import time
import weakref

import pytest

from bridge.sos_access import documents
from bridge.sos_access.documents import LONGEST, DocumentBuffer
from bridge.sos_access.status import MalformedMessage, Status

WHOLE = b"<a><b>1</b></a>"


@pytest.mark.parametrize("around", [b" ", b"\t", b"\r", b"\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \r\n\t"])
def test_white_space_and_a_byte_order_mark_around_are_ignored(around: bytes) -> None:
    buffer = DocumentBuffer()
    assert not buffer.feed(around)
    assert len(buffer) == 0
    assert buffer.feed(around + WHOLE + around)
    assert buffer.document == WHOLE
    assert buffer.root == ("a", {"b": "1"})


@pytest.mark.parametrize("before", [b"~", b"x", b"\xa0", b"0", b"/"])
def test_any_other_character_before_the_root_is_refused(before: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        DocumentBuffer().feed(before + WHOLE)
    assert caught.value.reason is Status.INVALID_XML


@pytest.mark.parametrize("data", [b"<a></b>", b"<a>&x;</a>", b"<a b></a>", b"<a>\x01</a>"])
def test_what_cannot_become_xml_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(MalformedMessage, match="not XML") as caught:
        DocumentBuffer().feed(data)
    assert caught.value.reason is Status.INVALID_XML


def test_nothing_is_not_a_document() -> None:
    buffer = DocumentBuffer()
    assert not buffer.feed(b"")
    assert not buffer.finish()
    assert not buffer.complete
    assert buffer.document == b""


@pytest.mark.parametrize(
    "root",
    [b"<a/>", b"<a />", b"<a b='>'/>", b'<a b="/>"/>', b"<a></a>", b"<a></a \n>", b"<a b='/'></a>", b"<a>></a>"],
)
def test_what_follows_the_root_is_not_part_of_the_document(root: bytes) -> None:
    for rest in (b"<c/>", b"junk", b"\0", b"&"):
        buffer = DocumentBuffer()
        assert buffer.feed(root)
        assert buffer.feed(rest)
        assert buffer.finish()
        assert buffer.document == root
    buffer = DocumentBuffer()
    assert buffer.feed(root + b"<c/>junk>")
    assert buffer.document == root


@pytest.mark.parametrize(("root", "held"), [(b"<a/>", {}), (b"<a>text</a>", {}), (b"<a><b/></a>", {"b": None})])
def test_root_without_elements_has_no_content(root: bytes, held: dict[str, object]) -> None:
    assert documents.read(root, header=False) == ("a", held)


def test_text_is_kept_as_it_stands() -> None:
    assert documents.read(b"<a><b> x\xe5 </b><c>1</c><c>2</c></a>", header=False)[1] == {"b": " xå ", "c": ["1", "2"]}


def test_eight_levels_are_read_and_nine_are_not() -> None:
    names = "abcdefghi"

    def levels(count: int) -> bytes:
        return "".join([*(f"<{n}>" for n in names[:count]), *(f"</{n}>" for n in names[count - 1 :: -1])]).encode()

    assert documents.read(levels(8), header=False)[0] == "a"
    with pytest.raises(MalformedMessage, match="nested more than 8 deep"):
        documents.read(levels(9), header=False)


def test_no_more_is_kept_than_one_byte_past_the_limit() -> None:
    buffer = DocumentBuffer()
    assert not buffer.feed(b"<a>" + b"x" * 60_000)
    with pytest.raises(MalformedMessage) as caught:
        buffer.feed(b"x" * 1_000_000)
    assert caught.value.reason is Status.INVALID_LENGTH
    assert len(buffer) == LONGEST + 1


def test_a_document_of_the_longest_length_is_read_with_more_behind_it() -> None:
    whole = b"<a>%b</a>" % (b"x" * (LONGEST - 7))
    assert DocumentBuffer().feed(whole + b"\n" * 10)
    with pytest.raises(MalformedMessage):
        DocumentBuffer().feed(b"<a>%b</a>" % (b"x" * (LONGEST - 6)))


def test_a_read_document_is_freed_without_the_collector() -> None:
    gc.disable()
    try:
        buffer = DocumentBuffer()
        buffer.feed(WHOLE)
        freed = weakref.ref(buffer)
        del buffer
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (WHOLE, Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml version="1.0"?>' + WHOLE, Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml version="1.0" encoding="ISO-8859-2"?>' + WHOLE, Status.XML_HEADER_MISSING_OR_INVALID),
        (b"<?xml version=\"1.0' encoding='ISO-8859-1\"?>" + WHOLE, Status.XML_HEADER_MISSING_OR_INVALID),
        (WHOLE[:-1], Status.INVALID_XML),
    ],
)
def test_header_of_a_request(data: bytes, reason: Status) -> None:
    with pytest.raises(MalformedMessage) as caught:
        documents.read(data, header=True)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    "header",
    [
        b"<?xml version='1.0' encoding='iso-8859-1'?>",
        b'<?xml  version = "1.0"\tencoding =\n"Iso-8859-1" ?>',
        b'\xef\xbb\xbf \n<?xml version="1.0" encoding="ISO-8859-1"?>\r\n',
    ],
)
def test_header_without_regard_to_case_quotes_and_white_space(header: bytes) -> None:
    assert documents.read(header + WHOLE, header=True) == ("a", {"b": "1"})


def test_written_document() -> None:
    written = documents.write("a", {"b": "<å&>", "c": {"pos": "x"}, "d": 1})
    assert written == (
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<a><b>&lt;\xe5&amp;&gt;</b><c><pos>x</pos></c><d>1</d></a>'
    )


def test_the_end_of_a_long_document_in_a_piece_of_its_own_is_found() -> None:
    buffer = DocumentBuffer()
    assert not buffer.feed(b"<a><b>" + b"x" * 2000 + b"</b>")
    assert buffer.feed(b"</a>")


def test_a_document_of_many_elements_in_pieces_of_one_byte_is_whole_with_its_last() -> None:
    whole = b"<a>" + b"<b>x</b>" * 400 + b"</a>"
    buffer = DocumentBuffer()
    assert [buffer.feed(whole[place : place + 1]) for place in range(len(whole))] == [False] * (len(whole) - 1) + [True]


def test_what_small_pieces_left_unread_is_read_when_nothing_more_comes() -> None:
    buffer = DocumentBuffer()
    buffer.feed(b"<a><!--")
    for _ in range(3000):
        buffer.feed(b">")
    assert not buffer.feed(b"--></a>")
    assert buffer.finish()
    assert buffer.root == ("a", {})


def test_a_long_comment_in_pieces_of_one_byte_is_not_scanned_again_for_each() -> None:
    buffer = DocumentBuffer()
    buffer.feed(b"<a><!--")
    begun = time.process_time()
    for _ in range(LONGEST - 100):
        buffer.feed(b">")
    assert time.process_time() - begun < 1


def test_a_document_that_was_read_without_its_header_is_none_with_one() -> None:
    buffer = DocumentBuffer()
    assert buffer.feed(WHOLE)
    assert documents.read(buffer.document, header=False) == buffer.root
    with pytest.raises(MalformedMessage) as caught:
        documents.read(buffer.document, header=True)
    assert caught.value.reason is Status.XML_HEADER_MISSING_OR_INVALID


def test_the_end_of_a_long_comment_in_small_pieces_is_found() -> None:
    buffer = DocumentBuffer()
    assert not buffer.feed(b"<a><!--")
    for _ in range(3000):
        assert not buffer.feed(b">")
    assert buffer.feed(b"x" * 1000 + b"--></a>")
