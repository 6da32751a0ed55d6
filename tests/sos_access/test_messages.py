# ruff: noqa: DTZ001 - the protocol's times are local and have no zone
"""The six messages both ways; the examples of the published protocol description are the vectors."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from bridge.common.errors import FieldError
from bridge.common.models import Secret
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
from bridge.sos_access.status import MalformedMessage, Status

Message = AlarmRequest | PingRequest | NewAuthRequest | AlarmResponse | PingResponse | NewAuthResponse

PASSWORD = Secret("hxp4x9nnwxjatv8")
ALARM = AlarmRequest("BA", "SV300", "1234567", PASSWORD, "42", "AL")

PUBLISHED: dict[str, tuple[str, Message]] = {
    "minimal alarm": (
        """ <?xml version="1.0" encoding="ISO-8859-1"?>
 <alarmrequest>
   <authentication>hxp4x9nnwxjatv8</authentication>
   <receiver>42</receiver>
   <alarmtype>AL</alarmtype>
   <transmittertype>SV300</transmittertype>
   <transmittercode>1234567</transmittercode>
   <eventcode>BA</eventcode>
 </alarmrequest>
""",
        ALARM,
    ),
    "alarm with a reference": (
        """<?xml version="1.0" encoding="ISO-8859-1"?>
<alarmrequest>
   <authentication>hxp4x9nnwxjatv8</authentication>
   <reference>1</reference>
   <receiver>42</receiver>
   <alarmtype>AL</alarmtype>
   <transmittertype>SV300</transmittertype>
   <transmittercode>1234567</transmittercode>
   <eventcode>BA</eventcode>
</alarmrequest>
""",
        replace(ALARM, reference="1"),
    ),
    "restore, with the stray character that the published example has behind it": (
        """ <?xml version="1.0" encoding="ISO-8859-1"?>
<alarmrequest>
   <authentication>hxp4x9nnwxjatv8</authentication>
   <reference>13843</reference>
   <receiver>42</receiver>
   <transmittertype>SV300</transmittertype>
   <transmittercode>1234567</transmittercode>
   <alarmtype>RE</alarmtype>
   <eventcode>FA</eventcode>
</alarmrequest>^
""",
        replace(ALARM, reference="13843", alarm_type="RE", event_code="FA"),
    ),
    "alarm taken": (
        """ <?xml version="1.0" encoding="ISO-8859-1"?>
 <alarmresponse>
     <reference>001</reference>
     <status>0</status>
     <info>OK</info>
     <arrivaltime>2006-12-24 15:00:00.000</arrivaltime>
 </alarmresponse>
""",
        AlarmResponse(0, "OK", datetime(2006, 12, 24, 15), "001"),
    ),
    "alarm not authorized, without milliseconds": (
        """ <?xml version="1.0" encoding="ISO-8859-1"?>
 <alarmresponse>
     <reference>001</reference>
     <status>6</status>
     <info>NOT_AUTHORIZED</info>
     <arrivaltime>2006-12-24 15:00:00</arrivaltime>
 </alarmresponse>
""",
        AlarmResponse(6, "NOT_AUTHORIZED", datetime(2006, 12, 24, 15), "001"),
    ),
    "request for a new password": (
        """ <?xml version="1.0" encoding="ISO-8859-1"?>
 <requestnewauthentication>
     <authentication>l4x85dshyrbla27</authentication>
     <reference>46</reference>
     <transmittercode>1234567</transmittercode>
     <transmittertype>ET800</transmittertype>
 </requestnewauthentication>
""",
        NewAuthRequest(Secret("l4x85dshyrbla27"), "1234567", "ET800", "46"),
    ),
    "new password": (
        """ <?xml version="1.0" encoding="ISO-8859-1"?>
 <requestnewauthenticationresponse>
     <reference>46</reference>
     <status>0</status>
     <info>OK</info>
     <newauthentication>8usedlb54a234md</newauthentication>
     <arrivaltime>2006-12-24 15:00:00</arrivaltime>
 </requestnewauthenticationresponse>
""",
        NewAuthResponse(0, "OK", "8usedlb54a234md", datetime(2006, 12, 24, 15), "46"),
    ),
    "heartbeat, encoding in lower case": (
        """ <?xml version="1.0" encoding="iso-8859-1"?>
 <pingrequest>
     <authentication>hxp4x9nnwxjatv8</authentication>
     <reference>734632</reference>
     <transmittercode>208013</transmittercode>
     <transmittertype>SV300</transmittertype>
 </pingrequest>
""",
        PingRequest(PASSWORD, "208013", "SV300", "734632"),
    ),
    "heartbeat taken": (
        """ <?xml version="1.0" encoding="iso-8859-1"?>
 <pingresponse>
     <reference>734632</reference>
     <status>0</status>
     <info>OK</info>
     <arrivaltime>2005-02-28 11:35:42.012</arrivaltime>
 </pingresponse>
""",
        PingResponse(0, "OK", datetime(2005, 2, 28, 11, 35, 42, 12000), "734632"),
    ),
}
each_vector = pytest.mark.parametrize(("text", "message"), PUBLISHED.values(), ids=PUBLISHED.keys())


@each_vector
def test_published_examples_are_read(text: str, message: Message) -> None:
    assert type(message).from_xml(text.encode("iso-8859-1")) == message


@each_vector
def test_what_was_read_is_read_again_from_what_we_write(text: str, message: Message) -> None:
    assert type(message).from_xml(message.to_xml()) == message


@each_vector
def test_a_document_is_whole_at_its_last_byte_and_not_before(text: str, message: Message) -> None:
    data = text.encode("iso-8859-1")
    buffer = DocumentBuffer()
    whole = [buffer.feed(data[i : i + 1]) for i in range(len(data))]
    end = data.rindex(b">") + 1
    assert whole.index(True) == end - 1
    assert type(message).from_xml(buffer.document) == message


def test_every_element_in_the_order_of_the_protocol() -> None:
    alarm = AlarmRequest(
        event_code="BA",
        transmitter_type="SV300",
        transmitter_code="1234567",
        authentication=PASSWORD,
        receiver="42",
        alarm_type="AL",
        transmitter_time="2002-05-28 11:35:20.022",
        reference="r",
        transmitter_area="1",
        section="2",
        section_text="Hus <A> & Å",
        detector="3",
        detector_text="Dörr",
        additional_info="one\r\ntwo",
        position="x1234567y1234567",
    )
    assert alarm.to_xml() == (
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<alarmrequest><reference>r</reference>'
        b"<authentication>hxp4x9nnwxjatv8</authentication><receiver>42</receiver>"
        b"<transmittertime>2002-05-28 11:35:20.022</transmittertime><alarmtype>AL</alarmtype>"
        b"<transmittertype>SV300</transmittertype><transmittercode>1234567</transmittercode>"
        b"<transmitterarea>1</transmitterarea><eventcode>BA</eventcode><section>2</section>"
        b"<sectiontext>Hus &lt;A&gt; &amp; \xc5</sectiontext><detector>3</detector><detectortext>D\xf6rr</detectortext>"
        b"<additionalinfo>one\r\ntwo</additionalinfo><position><pos>x1234567y1234567</pos></position></alarmrequest>"
    )
    # XML has one line end, whatever stood in the document.
    assert AlarmRequest.from_xml(alarm.to_xml()) == replace(alarm, additional_info="one\ntwo")


def test_responses_are_written_in_the_published_order() -> None:
    response = NewAuthResponse(0, "OK", "8usedlb54a234md", datetime(2006, 12, 24, 15), "46")
    assert response.to_xml() == (
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n<requestnewauthenticationresponse><reference>46</reference>'
        b"<status>0</status><info>OK</info><newauthentication>8usedlb54a234md</newauthentication>"
        b"<arrivaltime>2006-12-24 15:00:00.000</arrivaltime></requestnewauthenticationresponse>"
    )


def test_the_longest_message_is_within_the_limit() -> None:
    alarm = AlarmRequest(
        "&" * 25,
        "&" * 5,
        "&" * 15,
        Secret("&" * 15),
        "&" * 20,
        "AL",
        "2002-05-28 11:35:20.022",
        "&" * 50,
        "&" * 5,
        "&" * 5,
        "&" * 40,
        "&" * 5,
        "&" * 40,
        "&" * 2000,
        "x1234567y1234567",
    )
    assert len(alarm.to_xml()) < LONGEST
    assert AlarmRequest.from_xml(alarm.to_xml()) == alarm


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("event_code", None, "mandatory"),
        ("event_code", "", "0 characters"),
        ("event_code", "x" * 26, "1 to 25"),
        ("event_code", 7, "type int"),
        ("event_code", " BA", "white space"),
        ("event_code", "B\nA", r"\n"),
        ("receiver", "x" * 21, "1 to 20"),
        ("alarm_type", "XX", "AL (alarm)"),
        ("transmitter_type", "SV3000", "must have 5"),
        ("transmitter_code", "1" * 16, "1 to 15"),
        ("transmitter_time", "2002-05-28 11:35:20", "must have 23"),
        ("transmitter_time", "2002-13-28 11:35:20.022", "is not an existing date"),
        ("transmitter_time", "2002-05-28T11:35:20.022", "2002-05-28 11:35:20.022"),
        ("reference", "x" * 51, "1 to 50"),
        ("transmitter_area", "123456", "1 to 5"),
        ("section", "123456", "1 to 5"),
        ("section_text", "€", "ISO-8859-1"),
        ("section_text", "x" * 41, "1 to 40"),
        ("detector", "123456", "1 to 5"),
        ("detector_text", "\x80", "ISO-8859-1"),
        ("additional_info", "x" * 2001, "1 to 2000"),
        ("additional_info", "\t.", "ISO-8859-1"),
        ("position", "N59729E0176288", "15 to 16"),
        ("position", "N597295W0176288", "x1234567y1234567"),
        ("authentication", None, "mandatory"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_words(field: str, value: object, said: str) -> None:
    with pytest.raises(FieldError) as caught:
        replace(ALARM, **{field: value})  # type: ignore[arg-type]
    assert caught.value.field == field
    assert said in caught.value.fault


@pytest.mark.parametrize("password", ["short-and-secre", "€hxp4x9nnwxjatv", "too-long-and-secret"])
def test_no_error_shows_a_password(password: str) -> None:
    wrong = password if len(password) != 15 or "€" in password else f"{password[:-1]}\x01"
    with pytest.raises(FieldError) as caught:
        PingRequest(Secret(wrong), "1", "SV300")
    assert not any(part in str(caught.value) for part in (wrong, wrong[:5], "€", "x01"))


def test_a_password_given_as_text_becomes_a_secret() -> None:
    ping = PingRequest("hxp4x9nnwxjatv8", "1", "SV300")  # type: ignore[arg-type]
    assert ping.authentication == PASSWORD
    assert "hxp4" not in repr(ping)
    assert "8usedlb" not in repr(NewAuthResponse(0, "OK", "8usedlb54a234md"))


def header(body: str) -> bytes:
    return f'<?xml version="1.0" encoding="ISO-8859-1"?>{body}'.encode("iso-8859-1")


PING_BODY = (
    "<pingrequest><authentication>hxp4x9nnwxjatv8</authentication>"
    "<transmittercode>1</transmittercode><transmittertype>SV300</transmittertype></pingrequest>"
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header(PING_BODY) + b" " * LONGEST, None),
        (header("<pingrequest>" + " " * LONGEST + "</pingrequest>"), Status.INVALID_LENGTH),
        (b"", Status.INVALID_XML),
        (b"hello", Status.INVALID_XML),
        (header(PING_BODY)[:-1], Status.INVALID_XML),
        (header("<pingrequest><a></b></pingrequest>"), Status.INVALID_XML),
        (header("<pingrequest>&auml;</pingrequest>"), Status.INVALID_XML),
        (header("<unknownrequest/>"), Status.INVALID_XML),
        (header("<alarmresponse/>"), Status.INVALID_XML),
        (header('<!DOCTYPE a [<!ENTITY b "c">]>' + PING_BODY), Status.INVALID_XML),
        (header("<a>" * 9 + "</a>" * 9), Status.INVALID_XML),
        (PING_BODY.encode(), Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml version="1.0" encoding="UTF-8"?>' + PING_BODY.encode(), Status.XML_HEADER_MISSING_OR_INVALID),
        (b'<?xml version="1.0"?>' + PING_BODY.encode(), Status.XML_HEADER_MISSING_OR_INVALID),
        (b"<?xml nonsense?>" + PING_BODY.encode(), Status.XML_HEADER_MISSING_OR_INVALID),
        (header("<pingrequest/>"), Status.MANDATORY_DATA_MISSING),
        (header(PING_BODY.replace(">1<", "><")), Status.MANDATORY_DATA_MISSING),
        (header(PING_BODY.replace(">1<", f">{'1' * 16}<")), Status.WRONG_CONTENT),
        (header(PING_BODY.replace(">1<", ">&#8364;<")), Status.WRONG_CONTENT),
        (header(PING_BODY.replace(">1<", "><b>1</b><")), Status.WRONG_CONTENT),
        (header(PING_BODY.replace("<transmittercode", "<reference>1</reference>" * 2 + "<transmittercode")), 3),
    ],
)
def test_a_receiver_says_what_is_wrong_with_a_request(data: bytes, reason: Status | None) -> None:
    if reason is None:
        assert parse_request(data) == PingRequest(PASSWORD, "1", "SV300")
        return
    with pytest.raises(MalformedMessage) as caught:
        parse_request(data)
    assert caught.value.reason == reason
    assert "hxp4" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "response"),
    [
        ("<alarmresponse><status> \r\n0 </status></alarmresponse>", AlarmResponse(0)),
        ("<alarmresponse><info>OK</info><status>00</status></alarmresponse>", AlarmResponse(0, "OK")),
        ("<alarmresponse><status>0</status><more a='b>'><x/></more></alarmresponse>", AlarmResponse(0)),
        ("<alarmresponse><status>42</status><info> what? </info></alarmresponse>", AlarmResponse(42, "what?")),
        ("<alarmresponse><status>-1</status></alarmresponse>", AlarmResponse(-1)),
        ("<alarmresponse><status>0</status><info><b/></info></alarmresponse>", AlarmResponse(0)),
        ("<alarmresponse><status>0</status><info>&#8364;5</info></alarmresponse>", AlarmResponse(0, "?5")),
        ("<alarmresponse><status>0</status><arrivaltime>soon</arrivaltime></alarmresponse>", AlarmResponse(0)),
        ("<alarmresponse><status>0</status><arrivaltime>2006-12-24</arrivaltime></alarmresponse>", AlarmResponse(0)),
        (
            "<alarmresponse><status>0</status><arrivaltime>2006-12-24T15:00:01.5</arrivaltime></alarmresponse>",
            AlarmResponse(0, "", datetime(2006, 12, 24, 15, 0, 1, 500000)),
        ),
        (f"<alarmresponse><status>0</status><reference>{'x' * 51}</reference></alarmresponse>", AlarmResponse(0)),
    ],
)
def test_an_accepted_alarm_is_accepted_however_odd_the_rest(body: str, response: AlarmResponse) -> None:
    assert AlarmResponse.from_xml(body.encode()) == response
    assert AlarmResponse.from_xml(header(body)) == response
    assert AlarmResponse.from_xml(b"\xef\xbb\xbf \r\n" + body.encode() + b"junk <") == response


def test_an_arrival_time_with_a_zone_is_taken_to_local_time() -> None:
    body = b"<pingresponse><status>0</status><arrivaltime>2006-12-24T15:00:00+05:00</arrivaltime></pingresponse>"
    expected = datetime.fromisoformat("2006-12-24T15:00:00+05:00").astimezone().replace(tzinfo=None)
    assert PingResponse.from_xml(body).arrival_time == expected


@pytest.mark.parametrize(
    "body",
    [
        "<alarmresponse/>",
        "<alarmresponse>0</alarmresponse>",
        "<alarmresponse><status></status></alarmresponse>",
        "<alarmresponse><status>0.0</status></alarmresponse>",
        "<alarmresponse><status>1_0</status></alarmresponse>",
        "<alarmresponse><status><b>0</b></status></alarmresponse>",
        "<pingresponse><status>0</status></pingresponse>",
        "<alarmresponse><status>0</status>",
        '<!DOCTYPE a [<!ENTITY b "0">]><alarmresponse><status>&b;</status></alarmresponse>',
    ],
)
def test_what_has_no_status_is_nonsense(body: str) -> None:
    with pytest.raises(MalformedMessage):
        AlarmResponse.from_xml(body.encode())


@pytest.mark.parametrize("password", ["", "<newauthentication>short</newauthentication>", "<newauthentication/>" * 2])
def test_status_0_without_a_new_password_is_nonsense_other_codes_need_none(password: str) -> None:
    body = "<requestnewauthenticationresponse><status>{}</status>{}</requestnewauthenticationresponse>"
    with pytest.raises(MalformedMessage) as caught:
        NewAuthResponse.from_xml(body.format(0, password).encode())
    assert "short<" not in str(caught.value)
    assert NewAuthResponse.from_xml(body.format(5, password).encode()) == NewAuthResponse(5)


@pytest.mark.parametrize("wrong", [{"status": "0"}, {"status": True}, {"arrival_time": "now"}, {"info": "\x00"}])
def test_a_response_that_cannot_be_written_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(FieldError):
        replace(AlarmResponse(0), **wrong)  # type: ignore[arg-type]
    with pytest.raises(FieldError):
        NewAuthResponse(0)
