"""The digits study: the neural covariance SDE against finite networks, on real inputs.

Seven handwritten digits go through deep networks with two activations. For each, the law
of their correlations in the limit is compared with networks of growing width.

    python examples/digits.py            # about a minute; results in out/
    python examples/digits.py --quick    # fewer digits, widths, paths and networks
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import covsde

jax.config.update("jax_enable_x64", True)

parser = argparse.ArgumentParser(description="The digits study.")
parser.add_argument("--quick", action="store_true", help="a small study, in seconds")
parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the results")
options = parser.parse_args()
num_digits, widths, num_paths, num_networks = (
    (2, (32,), 1_000, 1_000) if options.quick else (7, (32, 64, 128), 10_000, 4_000)
)

# One image of each class, less the mean image, at mean square 1.
images, classes = load_digits(return_X_y=True)
x = images[[np.argmax(classes == digit) for digit in range(num_digits)]] - images.mean(
    axis=0
)
v0 = covsde.gram(jnp.asarray(x / np.sqrt(np.mean(x**2))))

t1 = 0.5  # depth/width
limits = {
    "relu": covsde.ShapedMLP(covsde.ShapedReLU(c_plus=0.0, c_minus=-1.0)),
    "tanh": covsde.ShapedMLP(covsde.ShapedSmooth(jnp.tanh, a=1.0)),
}
for name, limit in limits.items():
    report = covsde.validate(
        limit,
        v0,
        t1,
        width=widths,
        key=jax.random.key(0),
        num_paths=num_paths,
        num_networks=num_networks,
        saveat=t1 * jnp.array([0.0625, 0.125, 0.25, 0.5, 0.75, 1.0]),
    )
    print(report.table(), end="\n\n")
    report.figures(options.out / name)
    report.save(options.out / name)
