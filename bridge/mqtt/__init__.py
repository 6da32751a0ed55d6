"""The MQTT connection: the only room that uses aiomqtt and paho."""
