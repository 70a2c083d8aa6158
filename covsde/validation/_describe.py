"""A limit in one line, with the values of its parameters."""

import dataclasses

import equinox as eqx
import jax
import numpy as np


def describe(x) -> str:
    """E.g. `ShapedMLP(ShapedReLU(c_plus=0, c_minus=-1))`."""
    if isinstance(x, eqx.Module):
        fields = [f.name for f in dataclasses.fields(x) if hasattr(x, f.name)]
        values = [(name, getattr(x, name)) for name in fields]
        parts = [
            describe(value)
            if isinstance(value, eqx.Module) or callable(value)
            else f"{name}={describe(value)}"
            for name, value in values
        ]
        return f"{type(x).__name__}({', '.join(parts)})"
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return f"{x.item():.6g}" if x.ndim == 0 else f"array{x.shape}"
    if callable(x):
        return getattr(x, "__name__", type(x).__name__)
    return f"{x:.6g}" if isinstance(x, float) else repr(x)
