"""An activation of one's own: `x + α cos(ωx)/√n`, in the limit and in finite networks.

An activation `x + ψ(x)/√n` with an even ψ has the drift

    b^{ab} = E[ψ(u^a) ψ(u^b)] − V^{ab} E ψ(g)²,   u ~ N(0, V),   g ~ N(0, 1),

of which the class below has the closed form for ψ = α cos(ωx). Two checks follow that any
new activation should pass: the drift by quadrature, and the limit against networks.

    python examples/new_activation.py
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import covsde

jax.config.update("jax_enable_x64", True)


class ShapedCosine(covsde.AbstractActivation):
    """`φ_s(x) = x + α cos(ωx)/√n`."""

    alpha: jax.Array = eqx.field(converter=jnp.asarray)  # arrays can be differentiated
    omega: jax.Array = eqx.field(converter=jnp.asarray)

    def shaped(self, x, width):
        return x + self.alpha * jnp.cos(self.omega * x) / math.sqrt(width)

    def drift(self, v_aa, v_bb, v_ab):
        def mean_cos(variance):  # of cos(ωz), z ~ N(0, variance)
            return jnp.exp(-(self.omega**2) * variance / 2)

        product = mean_cos(v_aa + v_bb - 2 * v_ab) + mean_cos(v_aa + v_bb + 2 * v_ab)
        return self.alpha**2 * (product - v_ab * (1 + mean_cos(4.0))) / 2


def one_layer(activation, v, width):
    """`n (c E[φ_s(u^a) φ_s(u^b)] − V)`, by Gauss–Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    z = np.einsum("ab,bij->aij", np.linalg.cholesky(v), np.meshgrid(nodes, nodes))
    phi = np.asarray(activation.shaped(z, width))
    mean = np.einsum("aij,bij,i,j->ab", phi, phi, weights, weights)
    return width * (activation.normalising_constant(width) * mean - v)


v0 = jnp.array([[1.0, 0.3], [0.3, 0.8]])
wave = ShapedCosine(alpha=1.5, omega=2.0)
limit = covsde.ShapedMLP(wave)

print("the drift, and what one layer of width n adds, times n")
print(f"  limit      {np.asarray(limit.drift(0.0, v0, None))[[0, 0, 1], [0, 1, 1]]}")
for width in (100, 10_000, 1_000_000):
    added = np.asarray(one_layer(wave, v0, width))[[0, 0, 1], [0, 1, 1]]
    print(f"  {width:<10} {added}")

report = covsde.validate(
    limit, v0, 0.5, width=(16, 64), key=jax.random.key(0), num_networks=4_000
)
print(f"\n{report}")
