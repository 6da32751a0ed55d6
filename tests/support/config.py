"""What the tests of the configuration begin with: a transmitter, and the contract's example."""

from __future__ import annotations

PASSWORD = "481516234210815"
HOME = f"""
[[transmitters]]
name = "home"
transmitter_code = "IK1"
transmitter_type = "SV300"
authentication = "{PASSWORD}"
receiver_id = "OPER"
receiver = "127.0.0.1:9"
use_single_receiver = true
"""

# What users were shown first: it loads for ever, as it stands.
CONTRACT = """
# What a user writes: one TOML file (SOSBRIDGE_CONFIG, default /config/sosbridge.toml, else ./sosbridge.toml).
# Every value can come from the environment (SOSBRIDGE_MQTT__HOST=...), secrets from files (a secrets directory).
# Precedence: command line, environment, secret files, this file, defaults.

[mqtt]
host = "localhost"
port = 1883
username = "bridge"
password = "secret"            # better: the secret file mqtt__password
protocol = "5"                 # or "3.1.1"
base_topic = "sosbridge"
client_id = "sosbridge"
session_expiry = "7d"
# [mqtt.tls] ca_file, cert_file, key_file

[homeassistant]
enabled = true
discovery_prefix = "homeassistant"

[store]
path = "/data/sosbridge.db"

[[transmitters]]
name = "home"
transmitter_code = "IK00001"
transmitter_type = "SV001"
authentication = "012345678912345"      # the operator's first password; after a rotation the stored one is used
receiver_id = "ALARM-OPER"
receiver = "alarm.example.com:19100"
secondary_receiver = "alarm2.example.com:19100"   # or use_single_receiver = true
use_tls = true
tls_verify = "none"                     # none | system | /path/ca.pem | sha256:...
heartbeat = "180s"                      # off | 90s | 180s | 5h | 25h
max_age = "24h"

[[transmitters.alarms]]                 # an alarm with a name: a switch in Home Assistant
key = "burglary"
name = "Burglary"
event_code = "BA"
section = "1"
section_text = "House"

[g90]
listen = "0.0.0.0:5678"
announce = "192.168.1.10:5678"          # what panels are told; default: the address that they connected to
unknown_panels = "ignore"               # or "accept"
# upstream = "203.0.113.9:5678"         # chain to the vendor's cloud

[[g90.panels]]
guid = "GB7F20C14D05A91"
name = "House"
control = "local"                       # off | local | cloud (experimental)
host = "192.168.1.50"                   # for local control

[[forward]]                             # a panel's event raises an alarm at the operator
panel = "GB7F20C14D05A91"
event = "alarm"                         # alarm, tamper, sos, low_battery, ac_power_lost, panel_offline...
sensor_type = "smoke"                   # optional: sensor_type, sensor (index or name pattern)
transmitter = "home"
event_code = "FA"
restore_on = "disarmed"                 # the event, or a time such as "5m", that restores it
"""
