"""`sosbridge simulate`."""
