"""The same examples in every run, on any machine: a build fails by its change alone. tests/fuzz looks for new ones."""

from hypothesis import settings

pytest_plugins = ["support.fixtures", "support.secrecy", "support.stores"]
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")
