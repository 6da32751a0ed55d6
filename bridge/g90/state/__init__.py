"""A panel's life as values: reports in, states and events out. Pure."""
