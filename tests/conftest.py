"""The same examples in every run, on any machine: a build fails by its change alone. tests/fuzz looks for new ones."""

import signal

from hypothesis import settings

pytest_plugins = ["support.fixtures", "support.secrecy", "support.stores"]
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
# What runs the tests may ignore it, as nohup does, and every process below inherits that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
