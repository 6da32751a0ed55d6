"""Errors of the bridge's own, sorted by what the caller does about them.

Those of the SOS Access exchange (retry, fail over, give up) are in `sos_access.status`.
"""


class BridgeError(Exception):
    """Root of everything raised on purpose. Its text is one line that a user can act on, never with a password."""


class ConfigError(BridgeError):
    """The configuration is wrong: nothing starts until a person mends it."""


class FieldError(BridgeError):
    """One field of a command or message has a value that cannot be sent: nothing was sent."""

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(f"{field}: {fault}")
        self.field = field
        self.fault = fault


class StoreError(BridgeError):
    """The store on disk cannot be read or written: what was not stored is not acknowledged; retry later."""


class DamagedError(StoreError):
    """What is on disk cannot be what was written: no retry helps, the service sets the store aside and begins anew."""


class BusyError(BridgeError):
    """The running service holds what this command needs: stop it, or ask it over MQTT."""


def first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first single error within nested groups: what a task group raised, as if there were no group."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
