"""XML documents: find the end of one, read it, write one (PROTOCOL.md, Complete response and Characters).

A document has no length prefix: it is complete when its root element closes. `DocumentBuffer` finds the end without
parsing, in one pass over segments of any size, and refuses DTDs (so entities as well) and deep nesting. Only then
xmltodict parses it. The character set is ISO-8859-1 whatever a peer declares: one byte is one character.
"""

from __future__ import annotations

import re
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

import xmltodict

from bridge.common.text import clean
from bridge.sos_access.status import MalformedMessage, Status

LONGEST = 100_000
"""Characters of a message at most, header and tags included (PROTOCOL.md, Messages)."""
ENCODING = "ISO-8859-1"

_DEEPEST = 8  # levels; the deepest message has three
_AROUND = b" \t\r\n\xef\xbb\xbf"  # white space and the UTF-8 byte order mark
_HEADER = re.compile(
    rb"""<\?xml\s+version\s*=\s*(["'])1\.0\1\s+encoding\s*=\s*(["'])iso-8859-1\2\s*\?>""", re.IGNORECASE
)
_IN_TAG = re.compile(rb"""["'>]""")
_PLAIN = re.compile(rb"""[^<]*<(/?)[^<>"'!?/]+(/?)>""")
"""Text and a simple tag, as in messages; everything else is scanned piece by piece."""

Content = dict[str, object]
"""Elements by name: text, None if empty, a dict of inner elements, a list of repeated ones."""


class DocumentBuffer:
    """Collects the bytes of one document; `feed` returns whether its root element has closed.

    Bytes after the root are ignored. Raises `MalformedMessage` past 100 000 characters and for what cannot become a
    message.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0  # scanned up to here
        self._until: bytes | None = None  # end of the current comment, instruction, section or quotation
        self._tag_at: int | None = None  # start of the current tag
        self._depth = 0
        self._end: int | None = None

    def __len__(self) -> int:
        return len(self._data)

    @property
    def complete(self) -> bool:
        return self._end is not None

    @property
    def document(self) -> bytes:
        """The bytes up to the end of the root, without surrounding white space."""
        return bytes(self._data[: self._end]).strip(_AROUND)

    def feed(self, data: bytes) -> bool:
        """Add `data`; return whether the document is complete."""
        if not self.complete:
            self._data += data[: LONGEST + 1]
            while not self.complete and self._step():
                pass
            if (self._end or len(self._data)) > LONGEST:
                raise MalformedMessage(Status.INVALID_LENGTH, f"longer than {LONGEST} characters")
        return self.complete

    def _step(self) -> bool:
        """Scan the next piece; return False if it has not arrived yet."""
        if self._until is not None:
            return self._skip(self._until)
        if self._tag_at is not None:
            return self._tag(self._tag_at)
        if self._depth and (plain := _PLAIN.match(self._data, self._at)):
            self._at = plain.end()
            self._nest(bool(plain[1]), bool(plain[2]))
            return True
        return self._text()

    def _skip(self, until: bytes) -> bool:
        found = self._data.find(until, self._at)
        if found < 0:
            self._at = max(self._at, len(self._data) - len(until) + 1)
            return False
        self._at = found + len(until)
        self._until = None
        return True

    def _text(self) -> bool:
        start = self._data.find(b"<", self._at)
        text_end = len(self._data) if start < 0 else start
        if self._depth == 0:
            self._refuse_text(text_end)
        self._at = text_end
        return start >= 0 and self._markup(start)

    def _refuse_text(self, end: int) -> None:
        text = bytes(self._data[self._at : end]).strip(_AROUND)
        if text:
            raise MalformedMessage(Status.INVALID_XML, f"not XML: {clean(text.decode(ENCODING), 40)}")

    def _markup(self, start: int) -> bool:
        head = bytes(self._data[start : start + 9])
        for opening, closing in ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")):
            if head.startswith(opening):
                self._at, self._until = start + len(opening), closing
                return True
            if opening.startswith(head):
                return False
        if head.startswith(b"<!"):
            raise MalformedMessage(Status.INVALID_XML, "a DTD, which messages must not have")
        self._at, self._tag_at = start + 1, start
        return True

    def _tag(self, start: int) -> bool:
        found = _IN_TAG.search(self._data, self._at)
        if found is None:
            self._at = len(self._data)
            return False
        self._at = found.end()
        if found[0] != b">":
            self._until = bytes(found[0])
        else:
            self._tag_at = None
            self._nest(
                bytes(self._data[start : start + 2]) == b"</", bytes(self._data[self._at - 2 : self._at]) == b"/>"
            )
        return True

    def _nest(self, closes: bool, empty: bool) -> None:  # noqa: FBT001 - both describe one tag
        if not empty:
            self._depth += -1 if closes else 1
        if self._depth > _DEEPEST:
            raise MalformedMessage(Status.INVALID_XML, f"elements nested more than {_DEEPEST} deep")
        if self._depth <= 0:
            self._end = self._at


def read(data: bytes, *, header: bool) -> tuple[str, Content]:
    """Return the root's name and content; `header` requires the XML header (PROTOCOL.md, XML header).

    Raises `MalformedMessage` with reason 1 (too long), 2 (not XML) or 100 (header missing or different).
    """
    buffer = DocumentBuffer()
    complete = buffer.feed(data)
    document = buffer.document
    if header and document.startswith(b"<?xml") and not _HEADER.match(document):
        raise MalformedMessage(Status.XML_HEADER_MISSING_OR_INVALID, "wrong XML header")
    if not complete:
        raise MalformedMessage(Status.INVALID_XML, f"cut off after {len(buffer)} characters")
    root = _parse(document)
    if header and not document.startswith(b"<?xml"):
        raise MalformedMessage(Status.XML_HEADER_MISSING_OR_INVALID, "no XML header")
    return root


def _parse(document: bytes) -> tuple[str, Content]:
    try:
        parsed = xmltodict.parse(document, encoding=ENCODING, xml_attribs=False, strip_whitespace=False)
    except (ExpatError, ValueError) as error:  # xmltodict raises ValueError for entities
        raise MalformedMessage(Status.INVALID_XML, f"not XML: {clean(error)}") from None
    ((name, content),) = parsed.items()
    return name, content if isinstance(content, dict) else {}


def write(root: str, content: Content) -> bytes:
    """Return the document; all text must be ISO-8859-1."""
    return f'<?xml version="1.0" encoding="{ENCODING}"?>\n{_element(root, content)}'.encode(ENCODING)


def _element(name: str, value: object) -> str:
    inside = "".join(map(_element, value, value.values())) if isinstance(value, dict) else escape(str(value))
    return f"<{name}>{inside}</{name}>"
