"""The log of a night with five faults: what an operator reads, and how much of it."""

from __future__ import annotations

import asyncio
import re
from itertools import takewhile

from support.harness import live
from support.house import GUID, House

from bridge.sos_access.simulator.faults import Fault

CODE = "271828"
_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (\w+) +(.*)$")
_TIME = r"\d\d:\d\d:\d\d"
_SPAN = r"\d+ (?:s|min|h)(?: \d+ \w+)?"
_NEXT = rf"next try (?:in {_SPAN}|now)"
_START = (
    r"INFO sosbridge \S+, configuration \S+/bridge.toml",
    r"INFO store \S+/bridge.db",
    r"INFO broker 127.0.0.1:\d+, MQTT 5, client id (\S+), base topic \1",
    r"INFO home: primary receiver 127.0.0.1:\d+, secondary receiver 127.0.0.1:\d+, no TLS, heartbeat off",
    r"INFO panels: port 127.0.0.1:\d+, 1 panel, 1 rule",
    rf"INFO panel House: GUID {GUID}, control cloud, with a code",
)
_RECEIVERS_DEAD = (
    rf"ERROR home: FA #\d+ not delivered, both receivers refuse connections since {_TIME}, 1 alarm waiting, {_NEXT}",
    rf"ERROR home: BA #\d+ not delivered, both receivers refuse connections since {_TIME}, 2 alarms waiting, {_NEXT}",
    rf"INFO home: FA #\d+ accepted by the (?:primary|secondary) receiver after {_SPAN}",
    rf"INFO home: BA #\d+ accepted by the (?:primary|secondary) receiver(?: after {_SPAN})?",
    rf"INFO home: back, 2 alarms delivered after {_SPAN}",
)
_GOOD_AGAIN = rf"INFO home: the \w+ receiver (?:answers again|accepts the password) after {_SPAN}"
_BESIDE_THE_START = (
    r"WARNING home: (?:use_tls is false.*|tls.*)|WARNING panel House: no rule forwards.*|"
    r"INFO home: the link is up|INFO connected to broker 127.0.0.1:\d+|INFO panel House: panel online"
)
_PASSWORD_REFUSED = (
    r"INFO home: FA #\d+ accepted by the secondary receiver",
    rf"ERROR home: the primary receiver refuses the transmitter code or password since {_TIME}; ask the operator",
)
_BROKER_GONE = (
    r"WARNING broker 127.0.0.1:\d+: .*, next try in \d s",
    rf"INFO connected to broker 127.0.0.1:\d+ again after {_SPAN}",
)
_PANEL_OFFLINE = (r"WARNING panel House: offline", rf"INFO panel House: online again after {_SPAN}")
_WRONG_CODE = (r"WARNING panel House: DISARM: wrong code \(the code is missing or wrong\)",)


def lines(site: House, after: int = 0) -> list[str]:
    """Return level and text of each line; every line has both."""
    found = []
    for line in site.bridge.log[after:].splitlines():
        match = _LINE.match(line)
        assert match, line
        found.append(f"{match[1]} {match[2]}")
    return found


class Night:
    """Reads the log fault by fault."""

    def __init__(self, site: House) -> None:
        self.site = site
        self.read = 0

    async def says(self, *patterns: str, besides: str = "(?!)") -> None:
        """Wait for these lines, in order, with no others but those that are `besides`."""
        async with asyncio.timeout(60):
            while True:
                found = [line for line in lines(self.site)[self.read :] if not re.fullmatch(besides, line)]
                good = list(takewhile(lambda pair: re.fullmatch(*pair), zip(patterns, found, strict=False)))
                assert len(good) == min(len(found), len(patterns)), (found[len(good)], patterns[len(good)])
                if len(good) == len(patterns):
                    assert len(found) == len(patterns), found[len(patterns) :]
                    break
                await asyncio.sleep(0.05)
        self.read = len(lines(self.site))


@live
async def test_a_night_of_five_faults(site: House) -> None:
    site.settings["log"]["level"] = "info"
    site.home["check_idle_every"] = 30
    site.g90.update(offline_after=3, panels=[{"guid": GUID, "name": "House", "control": "cloud", "code": CODE}])
    site.codes.add(CODE)
    proxy = await site.behind_proxy()
    night = Night(site)
    await site.start()
    panel = await site.panel(interval=1.0)
    await site.checked()
    await night.says(*_START, besides=_BESIDE_THE_START)

    site.primary.faults.add(Fault(status=4))
    await site.send("alarm/raise", "FA")
    await night.says(*_PASSWORD_REFUSED)
    site.primary.faults.clear()

    for station in (site.primary, site.secondary):
        await station.stop()
    for number, code in enumerate(("FA", "BA"), 1):
        await site.send("alarm/raise", code)
        await site.mqtt.wait_all("transmitter/home/undelivered", number)
    await asyncio.sleep(6)
    for station in (site.primary, site.secondary):
        await station.start()
    await night.says(*_RECEIVERS_DEAD)

    await proxy.cut()
    await asyncio.sleep(5)
    await proxy.open()
    await night.says(*_BROKER_GONE, besides=_GOOD_AGAIN)

    panel.cut()
    await night.says(_PANEL_OFFLINE[0], besides=_GOOD_AGAIN)
    panel.rejoin()
    await night.says(_PANEL_OFFLINE[1], besides=_GOOD_AGAIN)

    await site.mqtt.publish(f"panel/{GUID}/set", '{"action": "DISARM", "code": "000000"}', qos=0)
    await night.says(*_WRONG_CODE, besides=_GOOD_AGAIN)

    found = [line for line in lines(site) if not re.fullmatch(_BESIDE_THE_START, line)]
    assert [line.partition(" ")[0] for line in found].count("ERROR") == 3
    assert len([line for line in found if GUID in line]) == 1, "the start names it by its GUID, later its name does"
    print("\n".join(lines(site)))
