"""From MQTT commands to alarm receivers and back: one transmitter, one line."""
