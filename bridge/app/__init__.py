"""The running bridge: its parts built from the settings, started, watched and stopped."""
