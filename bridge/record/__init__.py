"""The transmission record: what was measured of the lines, as figures and reports."""
