"""The library `sos-access`, imported: it wants of distutils, which newer Pythons have not, one class."""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any


class _LooseVersion:
    def __init__(self, text: str) -> None:
        self.version = [int(part) for part in text.split(".")]


def sos_access(module: str) -> Any:  # noqa: ANN401 - a library without types
    stand_in = ModuleType("distutils.version")
    vars(stand_in)["LooseVersion"] = _LooseVersion
    sys.modules |= {"distutils": ModuleType("distutils"), "distutils.version": stand_in}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"sos_access.{module}")
