"""SOS Access v4, the protocol of alarm receivers, as a transmitter speaks it."""
