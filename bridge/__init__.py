"""sosbridge: alarms from MQTT and G90 panels to SOS Access v4 receivers, and back."""

__version__ = "0.2.0"
