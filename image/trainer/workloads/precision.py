"""The precision in which Keras makes what it makes, where Keras is loaded."""

from __future__ import annotations

import sys


def use_precision(dtype: str) -> None:
    """Let Keras use "float32" or "float64" from now on."""
    if keras := sys.modules.get("keras"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
