"""The same examples in every run: a build fails by its change alone. tests/fuzz looks for new ones."""

from hypothesis import settings

pytest_plugins = ["secrecy"]
settings.register_profile("same", derandomize=True)
settings.load_profile("same")
