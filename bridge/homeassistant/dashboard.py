"""A Home Assistant dashboard of the announced devices, of standard cards only; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from bridge.homeassistant.entity import Payload

_ABOUT: Final = """\
# A dashboard for sosbridge, made by `sosbridge homeassistant dashboard`. In Home Assistant: Settings, Dashboards,
# Add dashboard, New dashboard from scratch. Open it, Edit, three dots, Raw configuration editor: paste this there.
"""
_LINES: Final = ("link", "problem", "last_result", "waiting", "last_test")
"""What is shown of a transmitter, where it is configured."""
_PROBLEMS: Final = "{{% for each in state_attr('{}', 'problems') or [] %}}- {{{{ each.text }}}}\n{{% endfor %}}"
_PLAIN: Final = re.compile(r"[^\W\d]\w*(?:[ :/.-]\w+)*")
"""A text that YAML reads as it stands."""
_NO_TEXT: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null"})
_LISTED: Final = r"alarm|sensor_\d+(_tamper|_battery)?|mains|battery|wifi|problem"
"""Of a panel: what says in the history what happened, in words."""
_HOURS: Final = 24


def dashboard(devices: Iterable[Payload]) -> str:
    """Return the YAML of a dashboard of announced devices, by their discovery payloads; '' for none."""
    found = list(devices)
    transmitters, panels = ([each for each in found if key in each["components"]] for key in ("link", "alarm"))
    if not transmitters and not panels:
        return ""
    operators = [_operator(each, "Operator" if len(transmitters) == 1 else _name(each)) for each in transmitters]
    sections = [*map(_panel, panels), *operators, _history(transmitters, panels)]
    view = {"title": "Alarm", "path": "alarm", "icon": "mdi:shield-home", "type": "sections", "max_columns": 3}
    grids = [{"type": "grid", "cards": cards} for cards in sections]
    return _ABOUT + "\n".join(_yaml({"title": "Alarm", "views": [{**view, "sections": grids}]})) + "\n"


def _name(device: Payload) -> str:
    return str(device["device"]["name"])


def _entities(device: Payload, pattern: str) -> dict[str, str]:
    """Return entity ids and names, by the keys that match `pattern`."""
    components: Payload = device["components"]
    return {_entity(each): each["name"] for key, each in components.items() if re.fullmatch(pattern, key)}


def _entity(component: Payload) -> str:
    """Return the entity id that Home Assistant makes of the one that is asked for."""
    platform, _, wanted = component["default_entity_id"].partition(".")
    return f"{platform}.{re.sub('[^a-z0-9]+', '_', wanted).strip('_')}"


def _heading(text: str, icon: str) -> Payload:
    return {"type": "heading", "heading": text, "icon": icon}


def _tiles(device: Payload, pattern: str) -> list[Payload]:
    return [{"type": "tile", "entity": entity, "name": name} for entity, name in _entities(device, pattern).items()]


def _panel(device: Payload) -> list[Payload]:
    """Return the cards of a panel: its alarm, its sensors."""
    (alarm,) = _tiles(device, "alarm")
    if states := device["components"]["alarm"]["supported_features"]:
        alarm |= {"type": "alarm-panel", "states": states, "grid_options": {"columns": 12}}
    return [_heading(_name(device), "mdi:shield-home"), alarm, *_tiles(device, r"sensor_\d+")]


def _operator(device: Payload, heading: str) -> list[Payload]:
    """Return the cards of a transmitter: its state, its problems while there are any, what can be sent."""
    cards = [_heading(heading, "mdi:account-tie-voice")]
    cards += [tile for key in _LINES for tile in _tiles(device, key)]
    (problem,) = _entities(device, "problem")
    visible = {"condition": "state", "entity": problem, "state": "on"}
    cards.append({"type": "markdown", "content": _PROBLEMS.format(problem), "visibility": [visible]})
    cards.append({"type": "heading", "heading": "Send", "heading_style": "subtitle"})
    asking = {"action": "toggle", "confirmation": {"text": "The operator will act on this. Continue?"}}
    cards += [tile | {"tap_action": asking, "icon_tap_action": asking} for tile in _tiles(device, "alarm_.+")]
    for key, confirmation in (("test", "The operator will receive a test alarm. Continue?"), ("heartbeat", None)):
        for tile in _tiles(device, key):
            press: Payload = {"action": "perform-action", "perform_action": "button.press"}
            press |= {"target": {"entity_id": [tile["entity"]]}}
            press |= {"confirmation": {"text": confirmation}} if confirmation else {}
            cards.append(tile | {"type": "button", "show_state": False, "tap_action": press})
            cards[-1]["grid_options"] = {"columns": 6, "rows": 2}
    return cards


def _history(transmitters: Sequence[Payload], panels: Sequence[Payload]) -> list[Payload]:
    """Return the cards of the last day: a graph of the states, a list of what happened."""
    graph = [{"entity": entity, "name": _name(panel)} for panel in panels for entity in _entities(panel, "alarm")]
    for device in transmitters:
        found = _entities(device, "alarm_.+|link")
        graph += [{"entity": entity, "name": name} for entity, name in found.items()]
    listed = [entity for panel in panels for entity in _entities(panel, _LISTED)]
    listed += [entity for device in transmitters for entity in _entities(device, "result|problem|link|alarm_.+")]
    wide = {"hours_to_show": _HOURS, "grid_options": {"columns": 12}}
    return [
        _heading("History", "mdi:history"),
        {"type": "history-graph", "entities": graph, **wide},
        {"type": "logbook", "target": {"entity_id": listed}, **wide, "grid_options": {"columns": 12, "rows": 6}},
    ]


def _yaml(value: Any) -> Iterator[str]:  # noqa: ANN401 - whatever JSON holds
    """Yield the lines of a value in YAML's block style."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            first, *rest = _yaml(inner)
            nested = isinstance(inner, dict | list) and bool(inner)
            yield from [f"{key}:", *(f"  {line}" for line in (first, *rest))] if nested else [f"{key}: {first}"]
    elif isinstance(value, list) and value:
        for each in value:
            first, *rest = _yaml(each)
            yield from (f"- {first}", *(f"  {line}" for line in rest))
    elif isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NO_TEXT:
        yield value
    else:
        yield json.dumps(value, ensure_ascii=False)
