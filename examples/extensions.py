"""Three extensions, each held against finite networks by one call of `validate`.

1. An activation in five lines: `x + cos(x)/√n`.
2. A drift: biases. With the limit that has it, seven lines.
3. An architecture in thirty lines, its finite network included: residual branches whose
   weight γ(t) changes with depth, and can be learnt.

    python examples/extensions.py
"""

import inspect
import math

import jax
import jax.numpy as jnp

import covsde
from covsde import ShapedMLP, ShapedReLU, ShapedResNet
from covsde.oracles import AbstractNetwork, finite_network, residual_stream

jax.config.update("jax_enable_x64", True)
key = jax.random.key(0)
v0 = jnp.array([[1.0, 0.3], [0.3, 0.8]])


def lines(*classes) -> int:
    """How many lines of code these classes have."""
    text = "".join(map(inspect.getsource, classes))
    return sum(bool(line.strip()) for line in text.splitlines())


def validate(name, limit, *classes):
    """One call, and what it prints."""
    print(f"\n{name}: {lines(*classes)} lines of code\n")
    print(
        covsde.validate(
            limit, v0, 0.5, width=64, key=key, num_paths=4_000, num_networks=2_000
        ),
        flush=True,
    )


# 1. An activation: even parts of order 1/√n make the drift E[ψ(u)ψ(u')] − V E[ψ(g)²]


class ShapedCosine(covsde.AbstractActivation):
    def shaped(self, x, width):
        return x + jnp.cos(x) / math.sqrt(width)

    def drift(self, v_aa, v_bb, v_ab):
        return jnp.exp(-(v_aa + v_bb) / 2) * jnp.cosh(v_ab) - v_ab * (1 + math.exp(-2)) / 2


validate("an activation", ShapedMLP(ShapedCosine()), ShapedCosine)


# 2. A drift: every layer of a linear network adds a bias of variance β/n


class Biases(covsde.AbstractDrift):
    variance: float

    def __call__(self, t, v, args):
        return jnp.full_like(v, self.variance)


class LinearWithBiases(covsde.AbstractLimit):
    drift: covsde.AbstractDrift
    diffusion: covsde.AbstractDiffusion


@finite_network.register(LinearWithBiases)
class BiasedNetwork(AbstractNetwork):
    limit: LinearWithBiases
    width: int

    def layer(self, t, hidden, weights):
        scale = math.sqrt(self.limit.drift.variance / self.width)
        bias = jnp.full_like(hidden[..., :1], scale)
        inputs = hidden / math.sqrt(hidden.shape[-1])
        return weights(jnp.concatenate([inputs, bias], axis=-1), self.width)


biased = LinearWithBiases(Biases(0.5), covsde.CongruenceDiffusion())
validate("a drift", biased, Biases, LinearWithBiases)
print(f"(its finite network: {lines(BiasedNetwork)} more)")


# 3. An architecture: at every time it is a ResNet with another γ


class ScheduledResNet(covsde.AbstractLimit):
    activation: covsde.AbstractActivation
    gammas: jax.Array

    def at(self, t):
        gamma = jnp.interp(t, jnp.linspace(0, 1, self.gammas.size), self.gammas)
        return ShapedResNet(self.activation, gamma)

    @property
    def drift(self):
        return ScheduledDrift(self)

    @property
    def diffusion(self):
        return ScheduledDiffusion(self)


class ScheduledDrift(covsde.AbstractDrift):
    limit: ScheduledResNet

    def __call__(self, t, v, args):
        return self.limit.at(t).drift(t, v, args)


class ScheduledDiffusion(covsde.AbstractDiffusion):
    limit: ScheduledResNet

    def gain(self, t):
        return self.limit.at(t).diffusion.gain(t)


@finite_network.register(ScheduledResNet)
class ScheduledNetwork(AbstractNetwork):
    limit: ScheduledResNet
    width: int

    def inputs(self, v0, weights):
        return residual_stream(v0, self.width, weights)

    def layer(self, t, hidden, weights):
        now = finite_network(self.limit.at(t), self.width)
        return now.layer(t, hidden, weights)


gammas = jnp.array([0.9, 0.5, 0.7])
scheduled = ScheduledResNet(ShapedReLU(1.0, -1.0), gammas)
classes = ScheduledResNet, ScheduledDrift, ScheduledDiffusion, ScheduledNetwork
validate("an architecture", scheduled, *classes)


@jax.jit
@jax.grad
def slope(gammas):
    """Of E ρ_1 in the schedule."""
    limit = ScheduledResNet(ShapedReLU(1.0, -1.0), gammas)
    solution = covsde.solve(limit, v0, 1.0, key=key, num_paths=500, dt0=1 / 8)
    return jnp.mean(covsde.observables.correlation(solution.vs[:, -1])[:, 0, 1])


print(f"\nslope of E ρ₁ in the values of γ: {slope(gammas)}")
