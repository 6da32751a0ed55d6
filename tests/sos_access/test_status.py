"""The status table: which error each code means, and what the sender learns from it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bridge.sos_access import status
from bridge.sos_access.messages import AlarmResponse
from bridge.sos_access.status import Failover, ReceiversUnavailable, Rejected, Status, TransportError, Unauthorized


@pytest.mark.parametrize(
    ("code", "kind", "group"),
    [
        (1, status.InvalidLength, Rejected),
        (2, status.InvalidXML, Rejected),
        (3, status.WrongContent, Rejected),
        (4, status.NotAuthorized, Unauthorized),
        (5, status.NotTreatedNotDistributed, Failover),
        (6, status.NotAuthorized, Unauthorized),
        (7, status.MandatoryDataMissing, Rejected),
        (9, status.ServiceUnavailable, Rejected),
        (98, status.ServerError, Failover),
        (99, status.OtherError, Failover),
        (100, status.XMLHeaderMissingOrInvalid, Rejected),
        (101, status.PingTooOften, Rejected),
        (42, status.OtherError, Failover),
        (-1, status.OtherError, Failover),
    ],
)
def test_each_code_is_one_error_of_one_group(code: int, kind: type, group: type) -> None:
    response = AlarmResponse(code, "SAID", datetime(2026, 1, 2, tzinfo=UTC))
    error = status.error_for(response.status, response.info, response.arrival_time)
    assert error is not None
    assert type(error) is kind
    assert isinstance(error, group)
    assert (error.status, error.info, error.arrival_time) == (code, "SAID", response.arrival_time)
    assert str(error) == f"answered {code} SAID"


def test_what_a_refused_heartbeat_means() -> None:
    assert status.ServiceUnavailable.hint == "heartbeats are not enabled at the operator"
    assert status.PingTooOften.hint == "it was pinged a moment ago; try again later"


@pytest.mark.parametrize("code", [0, 10])
def test_delivered_is_no_error(code: int) -> None:
    response = AlarmResponse(code)
    assert status.error_for(code) is None
    assert (response.accepted, response.duplicate) == (code == 0, code == 10)


def test_the_texts_of_the_table_are_spelled_as_receivers_spell_them() -> None:
    assert {int(code): code.info for code in Status} == {
        0: "OK",
        1: "INVALID_LENGTH",
        2: "INVALID_XML",
        3: "WRONG_CONTENT",
        4: "NOT_AUTHORIZED",
        5: "NOT_TREATED_NOT_DISTRIBUTED",
        6: "NOT_AUTHORIZED",
        7: "MANDATORY_DATA_MISSING",
        9: "SERVICE_UNAVAIVABLE",
        10: "DUPLICATED_ALARM",
        98: "SERVER_ERROR",
        99: "OTHER_ERROR",
        100: "XML_HEADER_MISSING_OR_INVALID",
        101: "PING_TO_OFTEN",
    }


def test_a_failed_round_tells_whether_anybody_answered() -> None:
    refused = TransportError("connection refused by a:1")
    answered = status.error_for(5, "NO")
    assert isinstance(answered, Failover)
    silent = ReceiversUnavailable((("primary", refused), ("secondary", refused), ("primary", refused)))
    assert not silent.answered
    assert (silent.status, silent.attempts, silent.receiver) == (None, 3, "primary")
    assert str(silent).count("connection refused") == 2  # once for each receiver
    heard = ReceiversUnavailable((("primary", answered), ("secondary", refused)))
    assert heard.answered
    assert (heard.status, heard.info) == (5, "NO")


def test_an_error_has_no_receiver_and_no_attempts_until_the_client_sets_them() -> None:
    error = status.error_for(5)
    assert error is not None
    assert (error.receiver, error.attempts, error.arrival_time) == (None, 0, None)
    assert str(error) == "answered 5"


def test_a_failed_round_has_the_status_of_its_last_answer() -> None:
    first, last = status.error_for(5, "NO"), status.error_for(98, "LATE", datetime(2026, 1, 2, tzinfo=UTC))
    assert isinstance(first, Failover)
    assert isinstance(last, Failover)
    failed = ReceiversUnavailable((("primary", first), ("secondary", last), ("primary", TransportError("reset"))))
    assert (failed.status, failed.info, failed.arrival_time) == (98, "LATE", last.arrival_time)
    assert (failed.receiver, failed.attempts, len(failed.failures)) == ("primary", 3, 3)
    assert (
        str(failed) == "no receiver took it in 3 attempts "
        "(primary: answered 5 NO; secondary: answered 98 LATE; primary: reset)"
    )
    assert ReceiversUnavailable(()).receiver is None
