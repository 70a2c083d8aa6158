"""Measurements of accuracy and speed; each module runs as `python -m benchmarks.<name>`."""

import os

# LAPACK's threads wait busily, too; for matrices this small they are of no use to anyone
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax

jax.config.update("jax_enable_x64", True)
