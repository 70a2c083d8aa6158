"""What a limit, an activation or a number is called: one line, with its parameters."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer


def full_name(x) -> str:
    """E.g. `ShapedMLP(ShapedReLU(c_plus=0, c_minus=-1))`; defaults are left out."""
    if isinstance(x, eqx.Module):
        fields = [f.name for f in dataclasses.fields(x) if _is_told(x, f)]
        parts = [_argument(name, getattr(x, name)) for name in fields]
        return f"{type(x).__name__}({', '.join(parts)})"
    if isinstance(x, Tracer):
        return "traced"
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return f"{x.item():.6g}" if x.ndim == 0 else f"array{x.shape}"
    if callable(x):
        return getattr(x, "__name__", type(x).__name__)
    return f"{x:.6g}" if isinstance(x, float) else repr(x)


def _is_told(x, field: dataclasses.Field) -> bool:
    """Whether a parameter is known, and not at its default."""
    if not hasattr(x, field.name):
        return False
    if field.default is dataclasses.MISSING:
        return True
    value = getattr(x, field.name)
    return isinstance(value, jax.Array) or value != field.default


def _argument(name: str, x) -> str:
    if isinstance(x, tuple) and all(isinstance(one, eqx.Module) for one in x):
        return ", ".join(map(full_name, x))
    if isinstance(x, eqx.Module) or callable(x):
        return full_name(x)
    return f"{name}={full_name(x)}"
