"""Measurements of accuracy and speed; each module runs as `python -m benchmarks.<name>`."""

import jax

jax.config.update("jax_enable_x64", True)
