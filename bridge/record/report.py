"""The record of a month as a page to print or send: HTML that needs nothing else. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from html import escape

from bridge.common.text import clean, lasted
from bridge.record.alarms import AlarmEntry
from bridge.record.availability import Availability
from bridge.record.figures import LINK, Figures, PartFigures

_MOST_LATE = 1000
"""Rows of the table of late alarms; CSV and JSON have all."""
_LEAST_PERCENT = 6.0
"""Height of what would be too thin to see in a day's bar."""
_STYLE = """
@page { size: A4; margin: 14mm }
* { box-sizing: border-box }
body { font: 14px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #1d2733; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1.5rem; print-color-adjust: exact;
  -webkit-print-color-adjust: exact }
article + article { break-before: page; margin-top: 4rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid #d8dee6 }
p { margin: .4rem 0 } .dim { color: #566475 }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: .8rem; margin: 1.4rem 0 0; padding: 0 }
.tiles div { border: 1px solid #d8dee6; border-radius: 8px; padding: .7rem .9rem }
.tiles dt { color: #566475; font-size: .8rem } .tiles dd { margin: 0 } .tiles dd.value { font-size: 1.45rem;
  font-weight: 600; font-variant-numeric: tabular-nums }
.part { display: grid; grid-template-columns: 9rem 1fr 6.2rem; gap: .9rem; align-items: center; margin: .7rem 0;
  break-inside: avoid }
.part b { display: block } .part > :last-child { text-align: right; font-variant-numeric: tabular-nums }
.days { display: flex; gap: 3px; height: 2.6rem; padding: 0; margin: 0; list-style: none }
.days li { flex: 1; display: flex; flex-direction: column; border-radius: 3px; overflow: hidden; background: #eef1f5 }
.dates { height: auto; font-size: .68rem; color: #566475 } .dates li { background: none; text-align: center }
.heard { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
.up { background: #2f9e68 } .down { background: #d43d3d } .unknown { background: #b6c0cc }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .35em 0 1em }
.key i:first-child { margin-left: 0 }
table { border-collapse: collapse; width: 100%; font-size: .86rem }
th { text-align: left; color: #566475; font-weight: 600 }
th, td { padding: .32rem .6rem .32rem 0; border-bottom: 1px solid #e6eaf0; vertical-align: top }
td { white-space: nowrap } td.free { white-space: normal; overflow-wrap: anywhere;
  min-width: 7rem } .short { width: auto;
  min-width: 20rem } .n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
thead { display: table-header-group } tr { break-inside: avoid }
footer { margin-top: 2.5rem; color: #566475; font-size: .8rem; border-top: 1px solid #d8dee6; padding-top: .6rem }
@media (max-width: 46rem) { .tiles { grid-template-columns: repeat(2, 1fr) }
  .part { grid-template-columns: 1fr auto } .days { grid-column: 1 / -1; grid-row: 2; gap: 1px }
  table { display: block; overflow-x: auto } }
"""


def page(months: Sequence[Figures], version: str, now: datetime, zone: tzinfo | None = None) -> str:
    """Return the page; times are those of `zone`, with None of the system."""
    title = ", ".join(dict.fromkeys(f"{month.month}" for month in months))
    articles = "".join(_article(month, zone) for month in months)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Transmission record {escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{articles}<footer>Measured by sosbridge {escape(version)}, written {_time(now.timestamp(), zone)}. Time in which the
bridge did not run is unknown; it counts neither as up nor as down. These are measurements: they do not prove that a
standard is met.</footer>
</body>
</html>
"""


def _article(month: Figures, zone: tzinfo | None) -> str:
    return f"""<article>
<h1>Transmission record: {_text(month.transmitter)}</h1>
<p class="dim">{month.month.first:%B %Y}, measured from {_time(month.start, zone)} to {_time(month.until, zone)}</p>
{_tiles(month)}
<h2>Availability by day</h2>
{_availability(month)}
<h2>Outages</h2>
{_outages(month)}
<h2>Alarms and restores</h2>
{_outcomes(month)}
<h2>Slow and undelivered alarms</h2>
{_late(month, zone)}
</article>
"""


def _tiles(month: Figures) -> str:
    link, times = month.parts[LINK].total, month.transmission
    delivered = sum(count for outcome, count in month.outcomes.items() if outcome in ("accepted", "duplicate"))
    total, tests = sum(month.outcomes.values()), month.tests_done + month.tests_failed
    known = "nothing is known" if link.percent is None else f"longest outage {_duration(link.longest_outage_s)}"
    spent = f"95 % within {times.p95_s:.1f} s, longest {_duration(times.max_s)}" if times else "no alarm was sent"
    tiles = (
        ("Link availability", _percent(link), known),
        ("Alarms delivered", f"{delivered} of {total}", f"{month.slow} after more than {month.undelivered_after:g} s"),
        ("Transmission time, mean", f"{times.mean_s:.1f} s" if times else "-", spent),
        ("Test alarms", f"{month.tests_done} of {tests}", f"{month.tests_failed} failed"),
    )
    rows = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="value">{escape(value)}</dd><dd class="dim">{escape(more)}</dd></div>'
        for name, value, more in tiles
    )
    return f'<dl class="tiles">{rows}</dl>'


def _availability(month: Figures) -> str:
    parts = "".join(_part(name, part) for name, part in month.parts.items())
    days = month.parts[LINK].days
    dates = "".join(f"<li>{day.day}</li>" for day, _ in days)
    scale = f'<div class="part" aria-hidden="true"><span></span><ul class="days dates">{dates}</ul><span></span></div>'
    return f"""{parts}{scale}
<p class="key dim"><i class="up"></i>up<i class="down"></i>down<i class="unknown"></i>unknown. A bar is a day; a short
outage is drawn larger than it was.</p>"""


def _part(name: str, part: PartFigures) -> str:
    texts = [(f"{day:%-d %B}: {_described(each)}", _bar(each)) for day, each in part.days]
    bars = "".join(f'<li title="{text}"><span class="heard">{text}</span>{bar}</li>' for text, bar in texts)
    return (
        f'<div class="part"><b>{_text(_named(name))}</b><ul class="days">{bars}</ul>'
        f"<span>{_percent(part.total)}</span></div>"
    )


def _bar(day: Availability) -> str:
    """Return the shares of a day, from the top: unknown, down, up; none that is there is too thin to see."""
    shares = {"unknown": day.unknown_s, "down": day.down_s, "up": day.up_s}
    whole = sum(shares.values()) or 1.0
    heights = {kind: max(share / whole * 100, _LEAST_PERCENT) for kind, share in shares.items() if share > 0}
    scale = 100 / sum(heights.values()) if heights else 1.0
    return "".join(f'<i class="{kind}" style="height:{each * scale:.2f}%"></i>' for kind, each in heights.items())


def _outages(month: Figures) -> str:
    head = ("", "Availability", "Outages", "Down", "Longest outage", "Unknown")
    rows = [
        (
            _named(name), _percent(part.total), str(part.total.outages), _duration(part.total.down_s),
            _duration(part.total.longest_outage_s), _duration(part.total.unknown_s),
        )
        for name, part in month.parts.items()
    ]  # fmt: skip
    return _table(head, rows, numbers=range(1, 6))


def _outcomes(month: Figures) -> str:
    if not month.outcomes:
        return "<p>None in this month.</p>"
    rows = [(name, str(count)) for name, count in month.outcomes.items()]
    return _table(("Outcome", "Number"), rows, numbers=(1,)).replace("<table>", '<table class="short">')


def _late(month: Figures, zone: tzinfo | None) -> str:
    if not month.late:
        return f"<p>None: every alarm was delivered within {month.undelivered_after:g} s.</p>"
    head = ("Accepted", "Code", "Request", "Outcome", "Time", "Attempts", "Receiver", "Reference", "Error")
    table = _table(head, [_late_row(each, zone) for each in month.late[:_MOST_LATE]], numbers=(4, 5))
    more = len(month.late) - _MOST_LATE
    return table if more <= 0 else f"{table}<p>{more} more: see the CSV or JSON of this report.</p>"


def _late_row(alarm: AlarmEntry, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        f"{datetime.fromtimestamp(alarm.accepted_at, zone):%Y-%m-%d %H:%M:%S}",
        alarm.event_code,
        alarm.request,
        alarm.outcome,
        "-" if alarm.seconds is None else _duration(alarm.seconds),
        str(alarm.attempts or "-"),
        " over ".join(each for each in (alarm.receiver, alarm.path) if each) or "-",
        alarm.reference or "-",
        alarm.error or "-",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int]) -> str:
    kinds = {"Reference": ' class="free"', "Error": ' class="free"'} | {head[each]: ' class="n"' for each in numbers}
    marks = [kinds.get(title, "") for title in head]
    titles = "".join(f'<th scope="col"{mark}>{escape(cell)}</th>' for mark, cell in zip(marks, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{mark}>{_text(cell)}</td>" for mark, cell in zip(marks, row, strict=True)) + "</tr>\n"
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>\n{body}</tbody></table>"


def _text(value: object) -> str:
    """Return a text that others may have written, made safe."""
    return escape(clean(value, 500))


def _named(part: str) -> str:
    kind, _, name = part.partition("/")
    return {"link": "Link", "receiver": f"{name.capitalize()} receiver", "path": f"Path {name}"}[kind]


def _percent(found: Availability) -> str:
    return "unknown" if found.percent is None else f"{found.percent:.3f} %"


def _described(day: Availability) -> str:
    pairs = ((day.down_s, "down"), (day.unknown_s, "unknown"))
    more = "".join(f", {_duration(value)} {word}" for value, word in pairs if value)
    return f"{_percent(day)}{more}"


def _duration(value: float) -> str:
    """Return seconds in words of two units, a short time with its fractions."""
    return f"{value:.3g} s" if 0 < value < 60 else lasted(value)  # noqa: PLR2004 - seconds


def _time(at: float, zone: tzinfo | None) -> str:
    return f"{datetime.fromtimestamp(at, zone).astimezone(zone):%Y-%m-%d %H:%M %z}"
