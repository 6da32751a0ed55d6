"""A simulated alarm receiver."""
