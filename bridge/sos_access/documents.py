"""XML documents of SOS Access: when one is whole, reading, writing (PROTOCOL.md, One exchange).

A document has no length prefix: it is whole when its root element closes. expat is fed as the bytes arrive, xmltodict
makes a dict of what it finds; DTDs, with them entities, depth and length are refused on the way. What we write is plain
enough to need no library. One byte is one character throughout: the character set is ISO-8859-1, whatever a peer
declares.
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape

import xmltodict

from bridge.common.text import clean
from bridge.sos_access.status import MalformedMessage, Status

LONGEST = 100_000
"""Characters of a message at most, header and tags included (PROTOCOL.md, Complete response)."""
ENCODING = "ISO-8859-1"

_DEEPEST = 8  # the deepest message has three levels
_AROUND = b" \t\r\n\xef\xbb\xbf"  # white space, and the byte order mark of an UTF-8 editor
_HEADER = re.compile(
    rb"""<\?xml\s+version\s*=\s*(["'])1\.0\1\s+encoding\s*=\s*(["'])iso-8859-1\2\s*\?>""", re.IGNORECASE
)
_STARTS = (b"", b"<")
_TAG = re.compile(rb"""<(?:[^"'>]|"[^"]*"|'[^']*')*>""")
_MOST_SCANNED_AGAIN = 1_000_000
"""Bytes that expat may see again as it waits for the end of a comment; past it, pieces have to be larger."""

Content = dict[str, object]
"""Elements by name: text as it stands, None when empty, a dict of inner elements, a list of repeated ones."""


class Document(bytes):
    """A document as it arrived; `root` is what `read` returns, once it is whole."""

    root: tuple[str, Content] | None = None


class DocumentBuffer:
    """Parses the bytes of one document as they arrive; `feed` returns whether the root has closed.

    What follows the root is ignored. Raises `MalformedMessage` past 100 000 characters, and for what cannot become a
    message: no XML, a DTD, elements nested too deep.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._parsed = 0
        self._scanned_again = 0
        self._start = 0
        self._end: int | None = None
        self._handler = xmltodict._DictSAXHandler(xml_attribs=False, strip_whitespace=False)  # noqa: SLF001 - parse() pulls
        self._parser = self._make_parser()

    def __len__(self) -> int:
        return len(self._data)

    @property
    def complete(self) -> bool:
        return self._end is not None

    @property
    def document(self) -> Document:
        """What came so far, without surrounding white space and without what followed the root."""
        document = Document(self._data[: self._end].rstrip(_AROUND))
        document.root = self.root if self.complete else None
        return document

    @property
    def root(self) -> tuple[str, Content]:
        """The name of the root and its elements, once it is complete."""
        ((name, content),) = self._handler.item.items()
        return name, content if isinstance(content, dict) else {}

    def feed(self, data: bytes) -> bool:
        """Take `data` in; return whether the document is whole."""
        if self._end is not None:
            return True
        if not self._data:
            data = data.lstrip(_AROUND)
        self._data += data[: LONGEST + 1 - len(self._data)]
        if self._data[:1] not in _STARTS or self._data[1:2] == b"\0":  # which expat would take for UTF-16
            raise MalformedMessage(Status.INVALID_XML, f"not XML: {clean(self._data.decode(ENCODING), 40)}")
        # A tag ends with >: up to there expat leaves nothing behind that it would have to scan again.
        end = self._data.rfind(b">", self._parsed) + 1
        if end and (self._scanned_again < _MOST_SCANNED_AGAIN or end - self._parsed > end // 64):
            self._parse(end)
        if (self._end or len(self._data)) > LONGEST:
            raise MalformedMessage(Status.INVALID_LENGTH, f"longer than {LONGEST} characters")
        return self._end is not None

    def finish(self) -> bool:
        """Take note that nothing more comes; return whether the document is whole."""
        if self._end is None:
            self._parse(len(self._data))
        return self._end is not None

    def _parse(self, end: int) -> None:
        piece = bytes(self._data[self._parsed : end])
        self._parsed = end
        try:
            self._parser.Parse(piece)
        except ExpatError as error:
            if self._end is None:  # else it is about what follows the root
                raise MalformedMessage(Status.INVALID_XML, f"not XML: {clean(error)}") from None
        self._scanned_again += end - self._parser.CurrentByteIndex
        if self._end is not None:  # breaks a reference cycle: collecting it takes longer than reading
            self._parser.StartElementHandler = self._parser.EndElementHandler = None

    def _make_parser(self) -> Any:  # noqa: ANN401 - pyexpat names no type
        """Return an expat parser that feeds xmltodict, refuses what no message needs, notes the root's end."""
        parser = ParserCreate(ENCODING)
        parser.buffer_text = True
        path, start, end = self._handler.path, self._handler.startElement, self._handler.endElement

        def start_element(name: str, attributes: object) -> None:
            if not path:
                self._start = parser.CurrentByteIndex
            if len(path) >= _DEEPEST:
                raise MalformedMessage(Status.INVALID_XML, f"elements nested more than {_DEEPEST} deep")
            start(name, attributes)

        def end_element(name: str) -> None:
            end(name)
            if not path:
                self._end = self._tag_end(parser.CurrentByteIndex)

        parser.StartElementHandler, parser.EndElementHandler = start_element, end_element
        parser.CharacterDataHandler = self._handler.characters
        parser.StartDoctypeDeclHandler = _refuse_dtd
        if hasattr(parser, "SetReparseDeferralEnabled"):  # else an answer in small segments might stay unread
            parser.SetReparseDeferralEnabled(False)  # noqa: FBT003 - its only parameter
        return parser

    def _tag_end(self, end_tag: int) -> int:
        """Return where the root ends; its end tag begins at `end_tag`, unless it is an empty-element tag."""
        start_tag = _TAG.match(self._data, self._start)
        if start_tag and start_tag[0].endswith(b"/>"):
            return start_tag.end()
        return self._data.find(b">", end_tag) + 1


def _refuse_dtd(*_: object) -> None:
    raise MalformedMessage(Status.INVALID_XML, "a DTD, which no message has")


def read(data: bytes, *, header: bool) -> tuple[str, Content]:
    """Return the root's name and content; `header` requires the first line of the protocol.

    Raises `MalformedMessage`, whose reason is 1 (too long), 2 (no XML) or 100 (header missing or another).
    """
    if isinstance(data, Document) and data.root is not None and not header:
        return data.root
    buffer = DocumentBuffer()
    start = data.lstrip(_AROUND) if header else b""
    has_header = start.startswith(b"<?xml")
    if has_header and not _HEADER.match(start):
        raise MalformedMessage(Status.XML_HEADER_MISSING_OR_INVALID, "another XML header")
    if not (buffer.feed(data) or buffer.finish()):
        raise MalformedMessage(Status.INVALID_XML, f"cut off after {len(buffer)} characters")
    if header and not has_header:
        raise MalformedMessage(Status.XML_HEADER_MISSING_OR_INVALID, "no XML header")
    return buffer.root


def write(root: str, content: Content) -> bytes:
    """Return the document; the caller has checked that all of it is ISO-8859-1."""
    return f'<?xml version="1.0" encoding="{ENCODING}"?>\n{_element(root, content)}'.encode(ENCODING)


def _element(name: str, value: object) -> str:
    inside = "".join(map(_element, value, value.values())) if isinstance(value, dict) else escape(str(value))
    return f"<{name}>{inside}</{name}>"
