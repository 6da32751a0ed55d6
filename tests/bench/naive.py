"""The script that people write: paho's callback sends with the `sos-access` library. `-m bench.naive BROKER RECEIVER`.

Nothing is stored; each send holds up all that come after it. It knows its transmitters by their topics.
"""

from __future__ import annotations

import json
import socket
import sys
from functools import cache
from typing import Any

import paho.mqtt.client as paho
from bench.kit import PASSWORD
from bench.peers import sos_access
from paho.mqtt.enums import CallbackAPIVersion


def main(broker: int, receiver: int) -> None:
    make = sos_access("client").SOSAccessClient

    @cache
    def line(code: str) -> Any:  # noqa: ANN401 - a library without types
        return make(code, "SV300", PASSWORD, "ALARM-OPER", ("127.0.0.1", receiver), use_single_receiver=True)

    def on_message(client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        alarm = json.loads(message.payload)
        line(message.topic.split("/")[1]).send_alarm(alarm["event_code"], reference=alarm["reference"])
        client.publish("naive/done", alarm["reference"], qos=1)

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.connect("127.0.0.1", broker)
    connection = client.socket()
    assert isinstance(connection, socket.socket)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.subscribe("naive/+/raise", qos=1)
    client.publish("naive/state", "online", qos=1, retain=True)
    client.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
