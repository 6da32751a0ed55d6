"""The bridge's errors, one class per reaction of the caller.

Errors of an SOS Access exchange are in `bridge.sos_access.status`.
"""


class BridgeError(Exception):
    """Base of all errors raised on purpose. The text is one line to act on, without passwords."""


class ConfigError(BridgeError):
    """The configuration is wrong; the service does not start."""


class FieldError(BridgeError):
    """A field of a command or message has a value that cannot be sent; nothing was sent."""

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(f"{field}: {fault}")
        self.field = field
        self.fault = fault


class StoreError(BridgeError):
    """The store cannot be read or written. What was not stored is not acknowledged; retry later."""


class DamagedError(StoreError):
    """The store is damaged. Retrying does not help; the service replaces the store."""


class LostError(StoreError):
    """Another node may own the shard by now: nothing may be sent, published or acknowledged any more."""


class InDoubtError(StoreError):
    """Whether something was stored is not known: the commit was begun, and not answered for certain."""


class BusyError(BridgeError):
    """The running service owns what this command needs; stop it, or use MQTT."""


def first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in nested groups, as if a task group had raised it directly."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
