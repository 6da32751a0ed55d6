"""What the log says of the connection to the broker: one line for each change, few while it fails."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from bridge.common.lasting import Lasting
from bridge.common.loop import now
from bridge.common.text import lasted
from bridge.mqtt.client import Broker, explain

log = logging.getLogger(__name__)

SHORT_S = 10.0
"""A connection that ends sooner was short."""
_QUIET_S = 90.0
"""A connection that lasts so long ends the trouble before it: two clients that take turns wait for up to a minute."""
_SHORT_CONNECTIONS = 3
"""In a row: brokers such as mosquitto 2.0 do not say that another client has taken over."""


class ConnectionLog:
    def __init__(self, broker: Broker) -> None:
        self._name = f"{broker.host}:{broker.port}"
        self._client_id = broker.client_id
        self._trouble = Lasting()
        self._since = datetime.now().astimezone()
        self._reconnects = 0
        """Since the trouble began."""
        self._short = 0
        """Connections in a row that were short."""
        self._needs_a_person = False
        self._quiet: asyncio.TimerHandle | None = None

    def lost(self, error: BaseException, held_s: float, wait_s: float) -> str:
        """Log that a connection ended after `held_s`, or was not made if less than 0; return why."""
        at = now()
        if self._quiet is not None:
            self._quiet.cancel()
        self._short = self._short + 1 if 0 <= held_s < SHORT_S else 0
        text = self._explained(error)
        needs_a_person = "mqtt." in text  # it names the setting to look at
        begins = self._trouble.since is None
        if begins:
            self._since = datetime.now().astimezone()
        if self._trouble.is_due(at) or (needs_a_person and not self._needs_a_person):
            level = logging.ERROR if needs_a_person else logging.WARNING
            since = "" if begins else f", since {self._since:%H:%M:%S}"
            log.log(level, "broker %s: %s%s, next try in %s", self._name, text, since, lasted(max(wait_s, 1.0)))
        else:
            log.debug("broker %s: %s, next try in %s", self._name, text, lasted(wait_s))
        self._needs_a_person = needs_a_person
        return f"broker {self._name}: {text}"

    def connected(self) -> None:
        """Log a connection; of those that do not last only the first."""
        self._quiet = asyncio.get_running_loop().call_later(_QUIET_S, self._held)
        if self._trouble.since is None:
            log.info("connected to broker %s", self._name)
            return
        self._reconnects += 1
        level = logging.INFO if self._reconnects == 1 else logging.DEBUG
        log.log(level, "connected to broker %s again after %s", self._name, lasted(now() - self._trouble.since))

    def _held(self) -> None:
        took = self._trouble.end(now())
        if took is not None and self._reconnects > 1:
            log.info("the connection to broker %s holds again after %s", self._name, lasted(took))
        self._reconnects, self._short, self._needs_a_person = 0, 0, False

    def _explained(self, error: BaseException) -> str:
        if self._short < _SHORT_CONNECTIONS:
            text = explain(error)
            return "connection lost" if text.startswith("Disconnected during") else text
        return (
            f"another client took over our client id {self._client_id!r} ({self._short} short connections in a row; "
            "do two bridges run with the same mqtt.client_id?)"
        )
