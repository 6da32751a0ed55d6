"""Reports: a page that is safe to open and to print, CSV that no spreadsheet calculates, JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest

from bridge.common.runs import Edge, Run
from bridge.record import export
from bridge.record.alarms import PENDING, AlarmEntry
from bridge.record.figures import Figures, Subject, figures
from bridge.record.months import Month
from bridge.record.report import _MOST_LATE, _duration, page

ZONE = ZoneInfo("Europe/Stockholm")
OCTOBER = Month(2026, 10)
START, END = OCTOBER.start(ZONE), OCTOBER.end(ZONE)
EVIL = "<script>alert(1)</script>\"'&\n\x1b[31m"


def entries() -> list[AlarmEntry]:
    return [
        AlarmEntry("alarm", "accepted", START + 5, START + 65, "BA", "r1", "primary", "fixed", 3),
        AlarmEntry("alarm", "rejected", START + 86400, START + 86401, EVIL, EVIL, "", "", None, EVIL),
        AlarmEntry("restore", PENDING, START + 90000, None, "=1+1", "@cmd"),
    ]


def month(found: list[AlarmEntry] | None = None, name: str = "home") -> Figures:
    edges = [
        Edge(name, "link", START, up=True),
        Edge(name, "link", START + 3600, up=False),
        Edge(name, "link", START + 3661, up=True),
    ]
    subject = Subject(name, ("primary",), ("fixed",))
    return figures(
        subject,
        OCTOBER,
        [Run(START, START + 20 * 86400, tuple(edges))],
        entries() if found is None else found,
        END,
        ZONE,
    )


def shown(*months: Figures) -> str:
    return page(months or [month()], "1.2.3", datetime(2026, 11, 2, 9, 30, tzinfo=ZONE), ZONE)


class Reader(HTMLParser):
    """Checks that tags close, and notes them with their attributes and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_sound_and_needs_nothing_else() -> None:
    found = Reader(shown())
    assert not {tag for tag, _ in found.seen} & {"script", "link", "img", "iframe", "a", "form"}
    assert not re.search("https?:|url\\(|@import|javascript", shown())
    policies = [attributes["content"] for _, attributes in found.seen if attributes.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_texts_of_others_are_text() -> None:
    text = shown(month(name="home"))
    assert "<script" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&amp;" in text
    assert Reader(text).text.count("<script>alert(1)</script>") == 3


def test_what_it_says() -> None:
    text = " ".join(Reader(shown()).text.split())
    for words in (
        "Transmission record: home",
        "October 2026, measured from 2026-10-01 00:00 +0200 to 2026-11-01 00:00 +0100",
        "Measured by sosbridge 1.2.3, written 2026-11-02 09:30 +0100",
        "1 October: 99.929 %, 1 min 1 s down",
        "31 October: unknown, 1 d unknown",
        "2026-10-01 00:00:05 BA alarm accepted 1 min 3 primary over fixed r1 -",
        "25 October: unknown, 1 d 1 h unknown",
        "pending",
    ):
        assert words in text, words
    assert "measured" in text.lower()
    assert not re.search("compl(y|ies|iant)|conform", text, re.IGNORECASE)


def test_each_transmitter_has_its_page() -> None:
    found = Reader(shown(month(name="home"), month(name="shop")))
    assert [tag for tag, _ in found.seen].count("article") == 2


def test_a_month_without_anything() -> None:
    text = " ".join(Reader(shown(figures(Subject("home"), OCTOBER, [], [], END, ZONE))).text.split())
    for words in ("None in this month.", "every alarm was delivered within 30 s", "nothing is known", "0 of 0"):
        assert words in text


def test_a_flood_of_late_alarms_is_cut() -> None:
    late = [AlarmEntry("alarm", "expired", START + number, START + number) for number in range(_MOST_LATE + 7)]
    text = shown(month(late))
    assert text.count("<td>expired</td>") == _MOST_LATE + 1
    assert "7 more: see the CSV or JSON" in text


def test_bars_fill_a_day() -> None:
    bars = re.findall(r'<li title[^>]*><span class="heard">[^<]*</span>((?:<i[^>]*></i>)+)</li>', shown())
    assert len(bars) == 31 * 3
    for bar in bars:
        assert sum(map(float, re.findall(r"height:([0-9.]+)%", bar))) == pytest.approx(100, abs=0.1)
    assert any('class="down" style="height:5' in bar for bar in bars)  # a minute is seen


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"), (0.25, "0.25 s"), (59.4, "59.4 s"), (60, "1 min"), (61, "1 min 1 s"), (3600, "1 h"),
        (3661, "1 h 1 min"), (86400, "1 d"), (90061, "1 d 1 h"), (7200.4, "2 h"),
    ],
)  # fmt: skip
def test_durations(value: float, text: str) -> None:
    assert _duration(value) == text


def test_json_has_days_and_late_alarms() -> None:
    found = json.loads(json.dumps(export.as_json(month())))
    assert found["transmitter"] == "home"
    assert len(found["days"]["link"]) == 31
    assert found["days"]["link"][0] == {
        "day": "2026-10-01", "availability": 99.929, "down_s": 61, "longest_outage_s": 61, "unknown_s": 0,
    }  # fmt: skip
    assert [each["outcome"] for each in found["late"]] == ["accepted", "rejected", "pending"]
    assert found["late"][0]["seconds"] == 60.0


def test_csv_has_a_row_for_each_figure() -> None:
    rows = [("home", "2026-10", *pair) for pair in export.figures(month())]
    text = export.csv_text(("transmitter", "month", "figure", "value"), rows)
    found = {row["figure"]: row["value"] for row in csv.DictReader(io.StringIO(text))}
    assert found["link.down_s"] == "61"
    assert found["days.link.2026-10-01.availability"] == "99.929"
    assert found["transmission.max_s"] == "60.0"
    assert found["tests.done"] == "0"
    assert found["receivers.primary.availability"] == ""
    assert found["late.3.event_code"] == "'=1+1"
    assert found["late.3.reference"] == "'@cmd"
    assert not {"transmitter", "month"} & found.keys()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_no_spreadsheet_calculates_a_cell(text: str) -> None:
    (row,) = (
        csv.reader(io.StringIO(export.csv_text(("a",), [(text,)])).readlines()[1:2])
        if "\r" not in text
        else [[f"'{text}"]]
    )
    assert row == [f"'{text}"]
    assert export.csv_text(("a",), [(-5,)]) == "a\n-5\n"
