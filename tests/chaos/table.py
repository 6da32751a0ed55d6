"""What came out of a run: a table, and what is wrong in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from chaos.equal import EqualAlarms
from chaos.ledger import Alarm, Ledger, PanelAlarm
from chaos.order import overtaken
from chaos.rotation import Rotations

_SHOWN = 5


def table(ledger: Ledger, rotations: Rotations, equal: EqualAlarms | None = None) -> str:
    """Return the table, ready for a README."""
    found = rows(ledger) | {"rotations, each killed at another step": rotations.killed}
    found |= {"locked out": len(rotations.wrong)}
    if equal is not None:
        found |= {
            "equal alarms; **lost**": f"{equal.acknowledged}; {equal.lost}",
            "packet ids given again": equal.reused,
        }
    return written(found)


def written(found: Mapping[str, object]) -> str:
    """Return rows as a table of Markdown."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in found.items())])


def rows(ledger: Ledger) -> dict[str, object]:
    """Return what the ledger says, by name; of panels, if there were any."""
    alarms = ledger.alarms.values()
    twice = Counter(reason for _, reason in ledger.twice())
    why = ", ".join(f"{reason} {count}" for reason, count in sorted(twice.items()))
    once = [alarm for alarm in alarms if len(alarm.published) == 1]  # else it may have been the broker's delay
    delays = [alarm.first - alarm.published[0] for alarm in once if alarm.first is not None]
    panels = {
        "made of events of panels": len(ledger.panels),
        "told by their panel more than once": sum(alarm.tellings > 1 for alarm in ledger.panels),
        "**lost** events of panels": sum(isinstance(alarm, PanelAlarm) for alarm in ledger.lost()),
        "restores that were in memory only when the bridge was killed": len(ledger.lost_with_memory()),
        "sent twice, of panels": sum(isinstance(alarm, PanelAlarm) for alarm, _ in ledger.twice()),
    }
    return {
        "alarms sent": len(alarms),
        "published again by their sender": sum(len(alarm.published) > 1 for alarm in alarms),
        "delivered": sum(alarm.first is not None for alarm in alarms),
        "rejected by both receivers": sum("rejected" in alarm.outcomes for alarm in alarms),
        "**lost**": len(ledger.lost()),
        "sent twice": f"{sum(twice.values())} ({why})" if twice else "0",
        **(panels if ledger.panels else {}),
        "order broken": len(overtaken(ledger)),
        "ended other than once": len(ledger.open()) + len(ledger.told_twice()),
        "longest delay of what was published once": f"{max(delays, default=0):.1f} s",
        "kills of the bridge": len(ledger.kills),
        "stops of the bridge": len(ledger.stops),
        **{f"faults of {name}": count for name, count in sorted(_by_kind(ledger.faults).items())},
    }


def faulty(ledger: Ledger, rotations: Rotations, equal: EqualAlarms | None = None) -> list[str]:
    """Say what is wrong; nothing if all went as promised."""
    found = [
        _named("lost", ledger.lost()),
        _named("sent twice without a reason", [each for each, reason in ledger.twice() if reason == "no reason"]),
        _named("overtaken by a later one", overtaken(ledger)),
        _named("rejected before each receiver had refused it", ledger.rejected_early()),
        _named("without a result", ledger.open()),
        _named("ended more than once", ledger.told_twice()),
        _results_of_panels(ledger),
        f"{equal.lost} of {equal.acknowledged} equal alarms lost" if equal and equal.lost else "",
        "" if ledger.alarms else "no alarm was sent",
        *ledger.strange[:_SHOWN],
        *rotations.wrong,
    ]
    return [each for each in found if each]


def _results_of_panels(ledger: Ledger) -> str:
    alarms, results = len(ledger.panels), len(ledger.unnamed)
    return f"{alarms} alarms of panels have {results} results" if results > alarms else ""


def _named(what: str, alarms: Sequence[Alarm]) -> str:
    if not alarms:
        return ""
    shown = "".join(f"\n  {each}" for each in alarms[:_SHOWN])
    return f"{len(alarms)} alarms {what}:{shown}"


def _by_kind(faults: Counter[str]) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for name, count in faults.items():
        kinds[name.partition(":")[0]] += count
    return kinds
