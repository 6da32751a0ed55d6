"""`sosbridge demo`."""
