"""Values: dataclasses that are frozen to the type checker and as quick to make as plain ones."""

from typing import TYPE_CHECKING, Any

__all__ = ["value"]

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(**options: Any) -> Any:  # noqa: ANN401 - as it is checked, above
        """Return the decorator `dataclass` without the freezing, which triples what making a value takes."""
        return dataclass(**{**options, "frozen": False, "unsafe_hash": options.get("eq", True)})
