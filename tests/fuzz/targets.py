"""Everything that is fuzzed, by name."""

from __future__ import annotations

from fuzz import target_g90, target_mqtt, target_sos, target_toml
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target for module in (target_g90, target_sos, target_mqtt, target_toml) for target in module.TARGETS
}
