"""G90 alarm panels (cloud protocol 1.1 over TCP, local protocol 1.2 over UDP)."""
