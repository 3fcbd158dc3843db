"""Random generators derived from a run's identity: the only source of randomness there is."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def derive_seed(*identity: object) -> int:
    """Return a 63-bit seed that is a function of `identity` alone: JSON values.

    The first one names what the randomness is for, so that two purposes never share a stream.
    """
    text = _ENCODER.encode(identity)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derive_generator(*identity: object) -> np.random.Generator:
    """Return a NumPy generator seeded by `derive_seed`."""
    import numpy as np

    return np.random.default_rng(derive_seed(*identity))
