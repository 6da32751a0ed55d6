"""The six messages of SOS Access v4 as frozen values, and their XML (PROTOCOL.md, Messages).

Written messages are exact: order, header, lengths, characters. Requests are read as strictly as a receiver does. Of a
response only root, status and a new password matter, so that an accepted alarm is not sent again because of an odd
`info` (PROTOCOL.md, Reading a response). Reading raises only `MalformedMessage`, constructing only `FieldError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, ClassVar, Generic, Self, TypeVar

from bridge.common.errors import FieldError
from bridge.common.models import Secret
from bridge.common.text import clean
from bridge.sos_access import documents, elements
from bridge.sos_access.documents import Content
from bridge.sos_access.elements import WHITE_SPACE, Element
from bridge.sos_access.prepare import info_text, time_text
from bridge.sos_access.status import MalformedMessage, Status

_STATUS = re.compile(r"-?[0-9]{1,9}")
_TAG = r"<(?:[\w.-]+:)?{0}(?:\s[^<>]*)?>\s*([^<>]{{0,255}}?)\s*</(?:[\w.-]+:)?{0}\s*>"
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}\S*", re.ASCII)

R_co = TypeVar("R_co", bound="Response", covariant=True)


def _fits(element: Element) -> Callable[[str], object]:
    """Return a check in one pass: the length, the characters, and no white space around them."""
    characters = r"[\r\n -~\xa0-\xff]" if element.lines else r"[ -~\xa0-\xff]"
    allowed = rf"(?![\r\n ]){characters}{{{element.shortest},{element.longest}}}(?<![\r\n ])"
    return re.compile(allowed).fullmatch


_FITS = {
    element.field: _fits(element)
    for element in (*elements.ALARM_ELEMENTS, *elements.LINK_ELEMENTS, elements.NEW_AUTHENTICATION)
    if element not in (elements.TRANSMITTER_TIME, elements.ALARM_TYPE, elements.POSITION)
}


class _Message:
    """Base of all six; subclasses are frozen dataclasses whose fields have the names in `ELEMENTS`."""

    __slots__ = ()
    ROOT: ClassVar[str]
    ELEMENTS: ClassVar[tuple[Element, ...]]

    def __post_init__(self) -> None:
        for element in self.ELEMENTS:
            value = getattr(self, element.field)
            if value is None and not element.mandatory:
                continue
            if element is elements.AUTHENTICATION and isinstance(value, str):
                value = Secret(value)
                object.__setattr__(self, element.field, value)
            text = value.reveal() if isinstance(value, Secret) else value
            if not (isinstance(text, str) and element.field in _FITS and _FITS[element.field](text)):
                element.check(text)  # has a rule of its own, or says what is wrong

    def to_xml(self) -> bytes:
        return documents.write(self.ROOT, self._content())

    def _content(self) -> Content:
        """Return the elements of the root, in the order of the wire."""
        return _elements(self)


class SOSAccessRequest(_Message, Generic[R_co]):
    """A message from the transmitter; `R_co` is the class of its response."""

    __slots__ = ()

    @classmethod
    def from_xml(cls, data: bytes) -> Self:
        """Read as a receiver does.

        Raises `MalformedMessage` with reason 1, 2, 3 (length, characters, repeated), 7 (mandatory missing) or 100.
        """
        content = _read(cls.ROOT, data, header=True)
        values = {element.field: _value(content, element) for element in cls.ELEMENTS if element.name in content}
        for element in cls.ELEMENTS:
            if element.mandatory and values.get(element.field) is None:
                raise MalformedMessage(Status.MANDATORY_DATA_MISSING, f"{element.name} is missing")
        try:
            return cls(**values)
        except FieldError as error:
            raise MalformedMessage(Status.WRONG_CONTENT, str(error)) from None


@dataclass(frozen=True, slots=True)
class AlarmRequest(SOSAccessRequest["AlarmResponse"]):
    """An alarm or its restore.

    `transmitter_time` is a datetime or local time in 23 characters; `additional_info` other than text becomes lines
    (PROTOCOL.md, Additional info); `alarm_type` is AL or RE, and None means AL.
    """

    ROOT: ClassVar[str] = "alarmrequest"
    ELEMENTS: ClassVar[tuple[Element, ...]] = elements.ALARM_ELEMENTS

    event_code: str
    transmitter_type: str
    transmitter_code: str
    authentication: Secret
    receiver: str
    alarm_type: str | None = None
    transmitter_time: datetime | str | None = None
    reference: str | None = None
    transmitter_area: str | None = None
    section: str | None = None
    section_text: str | None = None
    detector: str | None = None
    detector_text: str | None = None
    additional_info: str | Mapping[str, object] | Iterable[object] | None = None
    position: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.transmitter_time, datetime):
            object.__setattr__(self, "transmitter_time", time_text(self.transmitter_time))
        if not isinstance(self.additional_info, str | None):
            object.__setattr__(self, "additional_info", info_text(self.additional_info, []))
        _Message.__post_init__(self)

    @property
    def additional_info_text(self) -> str | None:
        """The additional information as it is sent."""
        return None if self.additional_info is None else str(self.additional_info)


@dataclass(frozen=True, slots=True)
class _LinkRequest(SOSAccessRequest[R_co]):
    """The elements that a ping and a request for a new password share."""

    ELEMENTS: ClassVar[tuple[Element, ...]] = elements.LINK_ELEMENTS

    authentication: Secret
    transmitter_code: str
    transmitter_type: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class PingRequest(_LinkRequest["PingResponse"]):
    """A heartbeat."""

    ROOT: ClassVar[str] = "pingrequest"


@dataclass(frozen=True, slots=True)
class NewAuthRequest(_LinkRequest["NewAuthResponse"]):
    """A request for a new password, authenticated by the current one."""

    ROOT: ClassVar[str] = "requestnewauthentication"


@dataclass(frozen=True, slots=True)
class Response(_Message):
    """Base of the responses. `arrival_time` is the receiver's local time without a zone, None if absent."""

    ROOT: ClassVar[str] = ""
    ELEMENTS: ClassVar[tuple[Element, ...]] = (elements.REFERENCE,)

    status: int
    info: str = ""
    arrival_time: datetime | None = None
    reference: str | None = None
    warning: str | None = field(default=None, kw_only=True)
    """What was wrong with a document that counts all the same."""

    def __post_init__(self) -> None:
        _Message.__post_init__(self)
        elements.INFO.check(self.info)
        if not isinstance(self.status, int) or isinstance(self.status, bool):
            raise FieldError("status", "is not a whole number")
        if not isinstance(self.arrival_time, datetime | None):
            raise FieldError("arrival_time", "is not a date and time")

    @property
    def accepted(self) -> bool:
        return self.status == Status.OK

    @property
    def duplicate(self) -> bool:
        """Whether the receiver already had it, which counts as delivered."""
        return self.status == Status.DUPLICATED_ALARM

    @classmethod
    def from_xml(cls, data: bytes) -> Self:
        """Read as a transmitter does. Raises `MalformedMessage` without the right root or a readable status."""
        content = _read(cls.ROOT, data, header=False)
        status = _lenient(content, "status")
        if not _STATUS.fullmatch(status):
            raise MalformedMessage(Status.WRONG_CONTENT, f"{cls.ROOT} without a readable status: {clean(status, 40)}")
        return cls._of(content, int(status))

    @classmethod
    def from_broken(cls, data: bytes) -> Self:
        """Read as `from_xml`, and accept malformed XML that has the right root and a complete status.

        An alarm that was accepted is not sent again because an `info` has a bare &. Not for a new password, and not
        past the longest message. Raises `MalformedMessage`.
        """
        try:
            return cls.from_xml(data)
        except MalformedMessage as error:
            if error.reason is Status.INVALID_LENGTH or cls.ROOT not in _COUNT_BROKEN:
                raise
            text = data.decode(documents.ENCODING).replace("\0", "")
            statuses = set(_whole(text, "status"))
            if not re.search(rf"<(?:[\w.-]+:)?{cls.ROOT}[\s>]", text, re.IGNORECASE) or len(statuses) != 1:
                raise
            status = statuses.pop()
            if not _STATUS.fullmatch(status):
                raise
            names = ("info", "arrivaltime", "reference")
            content: Content = {name: found[0] for name in names if (found := _whole(text, name))}
            return replace(cls._of(content, int(status)), warning=f"the receiver's answer is malformed XML: {error}")

    @classmethod
    def _of(cls, content: Content, status: int) -> Self:
        info, arrival_time, reference = _common(content)
        return cls(status, info, arrival_time, reference)

    def _content(self) -> Content:
        rest = _elements(self)
        content: Content = {"reference": rest.pop("reference")} if "reference" in rest else {}
        content["status"] = str(self.status)
        if self.info:
            content[elements.INFO.name] = self.info
        content |= rest
        if self.arrival_time is not None:
            content["arrivaltime"] = self.arrival_time.replace(tzinfo=None).isoformat(" ", "milliseconds")
        return content


@dataclass(frozen=True, slots=True)
class AlarmResponse(Response):
    """Response to an alarm or a restore."""

    ROOT: ClassVar[str] = "alarmresponse"


@dataclass(frozen=True, slots=True)
class PingResponse(Response):
    """Response to a heartbeat."""

    ROOT: ClassVar[str] = "pingresponse"


@dataclass(frozen=True, slots=True, init=False)
class NewAuthResponse(Response):
    """Response to a request for a new password; with status 0 it contains one, its `repr` does not."""

    ROOT: ClassVar[str] = "requestnewauthenticationresponse"
    ELEMENTS: ClassVar[tuple[Element, ...]] = (elements.REFERENCE, elements.NEW_AUTHENTICATION)

    new_authentication: str | None = field(default=None, repr=False)

    def __init__(
        self,
        status: int,
        info: str = "",
        new_authentication: str | Secret | None = None,
        arrival_time: datetime | None = None,
        reference: str | None = None,
        *,
        warning: str | None = None,
    ) -> None:
        text = new_authentication.reveal() if isinstance(new_authentication, Secret) else new_authentication
        object.__setattr__(self, "new_authentication", text)
        Response.__init__(self, status, info, arrival_time, reference, warning=warning)

    def __post_init__(self) -> None:
        Response.__post_init__(self)
        if self.accepted and self.new_authentication is None:
            raise FieldError("new_authentication", "is missing; status 0 requires it")

    @classmethod
    def _of(cls, content: Content, status: int) -> Self:
        info, arrival_time, reference = _common(content)
        password = _password(content, elements.NEW_AUTHENTICATION)
        try:
            elements.NEW_AUTHENTICATION.check(password)
            return cls(status, info, password, arrival_time, reference)
        except FieldError as error:
            if status == Status.OK:
                raise MalformedMessage(Status.WRONG_CONTENT, f"status 0 without a new password: {error}") from None
            return cls(status, info, None, arrival_time, reference)


RESPONSE_TO: dict[type[SOSAccessRequest[Any]], type[Response]] = {
    AlarmRequest: AlarmResponse,
    PingRequest: PingResponse,
    NewAuthRequest: NewAuthResponse,
}


_COUNT_BROKEN = (AlarmResponse.ROOT, PingResponse.ROOT)

AnyRequest = AlarmRequest | PingRequest | NewAuthRequest


def check_reference(request: SOSAccessRequest[Any], response: Response) -> None:
    """Raise `MalformedMessage` if the reference of `response` is not that of `request`."""
    sent = getattr(request, "reference", None)
    if sent is not None and response.reference is not None and response.reference != sent:
        raise MalformedMessage(Status.WRONG_CONTENT, f"the answer has another reference: {clean(response.reference)}")


def parse_request(data: bytes) -> AnyRequest:
    """Read a request of any kind, as a receiver does. Raises `MalformedMessage` with the status to answer."""
    name, _ = documents.read(data, header=True)
    for kind in (AlarmRequest, PingRequest, NewAuthRequest):
        if name == kind.ROOT:
            return kind.from_xml(data)
    raise MalformedMessage(Status.INVALID_XML, f"{clean(name, 40)} is not a request")


def _elements(message: _Message) -> Content:
    content: Content = {}
    for element in message.ELEMENTS:
        value = getattr(message, element.field)
        if value is not None:
            text = value.reveal() if isinstance(value, Secret) else value
            content[element.name] = {"pos": text} if element is elements.POSITION else text
    return content


def _read(root: str, data: bytes, *, header: bool) -> Content:
    name, content = documents.read(data, header=header)
    if name != root:
        raise MalformedMessage(Status.INVALID_XML, f"{clean(name, 40)} instead of {root}")
    return content


def _value(content: Content, element: Element) -> str | None:
    """Return the text of `element`, None if it is absent or empty."""
    value = content.get(element.name)
    if element is elements.POSITION and isinstance(value, dict):
        value = value.get("pos")
    if value is None:
        return None
    if not isinstance(value, str):
        raise MalformedMessage(Status.WRONG_CONTENT, f"{element.name} is repeated or has elements inside")
    if element.field in elements.PASSWORDS and len(value) == element.longest:
        return value
    return value.strip(WHITE_SPACE) or None


def _password(content: Content, element: Element) -> str | None:
    try:
        return _value(content, element)
    except MalformedMessage:
        return None


def _whole(text: str, name: str) -> list[str]:
    """Return what every whole element of that name holds, in whatever stands around it."""
    return re.findall(_TAG.format(name), text, re.IGNORECASE)


def _lenient(content: Content, name: str) -> str:
    """Return the text of an element, "" if it is absent; of repeated ones the first."""
    value = content.get(name)
    if isinstance(value, list):
        value = value[0]
    return value.strip(WHITE_SPACE) if isinstance(value, str) else ""


def _common(content: Content) -> tuple[str, datetime | None, str | None]:
    """Return info, arrival time and reference, each if it can be used."""
    info = elements.NOT_PRINTABLE.sub("?", _lenient(content, elements.INFO.name))[: elements.INFO.longest]
    reference: str | None = _lenient(content, "reference")
    try:
        elements.REFERENCE.check(reference)
    except FieldError:
        reference = None
    return info.strip(WHITE_SPACE), _arrival_time(_lenient(content, "arrivaltime")), reference


def _arrival_time(text: str) -> datetime | None:
    """Return a receiver's time as naive local time (PROTOCOL.md, Times), None if it cannot be read."""
    if not _TIME.fullmatch(text):
        return None
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is None else time.astimezone().replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
