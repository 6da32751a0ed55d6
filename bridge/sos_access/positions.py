"""Positions: from coordinates to the text of the `pos` element (seed, Alarm Requests; protocol page, Position)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bridge.common.errors import FieldError
from bridge.common.text import clean
from bridge.sos_access import elements

_FIELD = "position"
_HUNDREDTHS = 6000  # hundredths of a minute in a degree


def position(value: object) -> str | None:
    """Return `pos` text of `{"lat": ..., "lon": ...}` (WGS84, decimal degrees), `{"x": ..., "y": ...}` (RT90, metres).

    Finished text passes if it is well-formed; None and "" give None. Raises `FieldError`.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        elements.POSITION.check(value)
        return value
    if isinstance(value, Mapping):
        if set(value) == {"lat", "lon"}:
            return _wgs84(_number("lat", value["lat"]), _number("lon", value["lon"]))
        if set(value) == {"x", "y"}:
            return _rt90(_number("x", value["x"]), _number("y", value["y"]))
    raise FieldError(_FIELD, 'should be {"lat": ..., "lon": ...}, {"x": ..., "y": ...} or finished text')


def _number(name: str, value: object) -> float:
    # Compared, not math.isfinite: that fails for a whole number that no float can hold.
    if isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf:
        return value
    raise FieldError(_FIELD, f"{name} is {clean(value, 40)} and should be a number")


def _wgs84(lat: float, lon: float) -> str:
    if not (0 <= lat <= 90 and 0 <= lon <= 180):  # noqa: PLR2004 - the quarter of the globe that the format has
        raise FieldError(_FIELD, "lat should be 0 to 90 degrees north and lon 0 to 180 east: the format has no other")
    north, north_minutes = divmod(round(lat * _HUNDREDTHS), _HUNDREDTHS)
    east, east_minutes = divmod(round(lon * _HUNDREDTHS), _HUNDREDTHS)
    return f"N{north:02d}{north_minutes:04d}E{east:03d}{east_minutes:04d}"


def _rt90(x: float, y: float) -> str:
    if not (0 <= round(x) <= 9_999_999 and 0 <= round(y) <= 9_999_999):  # noqa: PLR2004 - seven digits each
        raise FieldError(_FIELD, "x and y should be metres of seven digits at most")
    return f"x{round(x):07d}y{round(y):07d}"
