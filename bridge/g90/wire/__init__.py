"""The bytes of G90 panels, both ways. Pure."""
