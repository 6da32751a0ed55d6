"""Answers that are no proper XML: what counts all the same, and what does not (PROTOCOL.md, Reading a response)."""

from __future__ import annotations

import pytest

from bridge.sos_access.messages import AlarmRequest, AlarmResponse, NewAuthResponse, PingResponse, check_reference
from bridge.sos_access.status import MalformedMessage

PASSWORD = "a1b2c3d4e5f6g7h"


@pytest.mark.parametrize(
    "answer",
    [
        b"<alarmresponse><status>0</status><info>Larm & tak</info></alarmresponse>",
        b"<alarmresponse><status>0</status><info>\x01</info></alarmresponse>",
        b"<s:alarmresponse xmlns:s='urn:x'><s:status>0</s:status></s:alarmresponse>",
        b"<ALARMRESPONSE><STATUS> 0 </STATUS></ALARMRESPONSE>",
        b"\x00<alarmresponse><status>0</status></alarmresponse>",
        b"<alarmresponse><status>0</status>",
        b"<alarmresponse><status>0</status><status>0</status></alarm",
    ],
)
def test_broken_answer_with_root_and_whole_status_counts_with_a_warning(answer: bytes) -> None:
    with pytest.raises(MalformedMessage):
        AlarmResponse.from_xml(answer)
    read = AlarmResponse.from_broken(answer)
    assert read.status == 0
    assert read.warning


@pytest.mark.parametrize(
    "answer",
    [
        b"<pingresponse><status>0</status>",
        b"<alarmresponse><status>0",
        b"<alarmresponse><status>0</status><status>5</status>",
        b"<alarmresponse><status>zero</status>",
        b"<alarmresponse><info>&</info></alarmresponse>",
        b"<status>0</status>",
        b"<alarmresponse><status>0</status>" + b"x" * 100_000,
        b"",
    ],
)
def test_broken_answer_without_root_or_one_whole_status_is_malformed(answer: bytes) -> None:
    with pytest.raises(MalformedMessage):
        AlarmResponse.from_broken(answer)


def test_broken_answer_keeps_what_it_says() -> None:
    answer = b"<pingresponse><reference>r1</reference><status>98</status><info>a & b</info></pingresponse>"
    read = PingResponse.from_broken(answer)
    assert (read.reference, read.status, read.info) == ("r1", 98, "a & b")


def test_broken_answer_to_a_rotation_never_counts() -> None:
    answer = (
        "<requestnewauthenticationresponse><status>0</status><info>&</info>"
        f"<newauthentication>{PASSWORD}</newauthentication></requestnewauthenticationresponse>"
    )
    with pytest.raises(MalformedMessage):
        NewAuthResponse.from_broken(answer.encode())


def test_proper_answer_has_no_warning() -> None:
    assert AlarmResponse.from_broken(b"<alarmresponse><status>0</status></alarmresponse>") == AlarmResponse(0)


@pytest.mark.parametrize(
    ("ours", "theirs", "fits"),
    [
        ("r1", "r1", True),
        ("r1", None, True),
        (None, "x", True),
        ("r1", "r2", False),
    ],
)
def test_answer_with_another_reference(ours: str | None, theirs: str | None, *, fits: bool) -> None:
    request = AlarmRequest("BA", "SV301", "IK1", PASSWORD, "R", reference=ours)  # type: ignore[arg-type]
    response = AlarmResponse(0, reference=theirs)
    if fits:
        check_reference(request, response)
        return
    with pytest.raises(MalformedMessage, match="another reference"):
        check_reference(request, response)
