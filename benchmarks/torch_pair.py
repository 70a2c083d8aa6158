"""torchsde on the pair of `work_precision`: weak error in E ρ² and CPU time per path.

`python benchmarks/torch_pair.py` where torchsde is installed, which covsde does not ask
for: the Stratonovich equation of the factor L of two inputs, shaped ReLU (0, −1), ρ₀ = .3,
T = 1, with formulas by hand, all paths in one batch, on one thread.
"""

import argparse
import math
import time

import torch  # pyright: ignore[reportMissingImports]
import torchsde  # pyright: ignore[reportMissingImports]

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

EXACT = 0.4661792  # E ρ², as `work_precision` has it from the law of the pair
PATHS, RHO = 20_000, 0.3
STRENGTH, ROOT_HALF = 1 / (2 * math.pi), 0.5**0.5


class Factor(torch.nn.Module):
    """`dL = (L Φ(L⁻¹ b L⁻ᵀ) − ½ L diag(1, 2)) dt + L ∘ dN` of `L = [[a, 0], [b, c]]`."""

    noise_type, sde_type = "general", "stratonovich"

    def f(self, t, y):
        """The drift."""
        a, b, c = y.unbind(-1)
        length = (b * b + c * c).sqrt()
        rho = (b / length).clamp(-1, 1)
        nu = (1 - rho * rho).clamp(min=0).sqrt() - rho * torch.acos(rho)
        off = STRENGTH * nu * a * length
        below, last = off / (a * c), -2 * b * off / (a * c * c)  # of L⁻¹ b L⁻ᵀ
        return torch.stack([-a / 2, c * below - b / 2, c * last / 2 - c], -1)

    def g(self, t, y):
        """The noise: `N_ii = B_ii/√2`, `N_ij = B_ij`."""
        a, b, c = y.unbind(-1)
        zero = torch.zeros_like(a)
        first = torch.stack([ROOT_HALF * a, zero, zero], -1)
        second = torch.stack([ROOT_HALF * b, c, zero], -1)
        third = torch.stack([zero, zero, ROOT_HALF * c], -1)
        return torch.stack([first, second, third], -2)


def squared_correlations(steps: int, method: str, seed: int) -> torch.Tensor:
    """ρ² of each path at T = 1."""
    start = torch.tensor([1.0, RHO, math.sqrt(1 - RHO**2)]).expand(PATHS, 3).contiguous()
    motion = torchsde.BrownianInterval(
        0.0, 1.0, size=(PATHS, 3), dtype=start.dtype, entropy=seed
    )
    ts = torch.tensor([0.0, 1.0])
    with torch.no_grad():
        ys = torchsde.sdeint(Factor(), start, ts, bm=motion, method=method, dt=1 / steps)
    _, b, c = ys[-1].unbind(-1)
    return b * b / (b * b + c * c)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20, help="of 20,000 paths")
    parser.add_argument("--steps", type=int, nargs="*", default=[32, 64, 128])
    parser.add_argument("--methods", nargs="*", default=["midpoint", "heun", "euler_heun"])
    arguments = parser.parse_args()
    print("error in E ρ² (standard error), CPU-ns per path and step, CPU-µs per path")
    for method in arguments.methods:
        for steps in arguments.steps:
            begin = time.process_time()
            parts = [
                squared_correlations(steps, method, i) for i in range(arguments.repeats)
            ]
            seconds = time.process_time() - begin
            x = torch.cat(parts)
            error, noise = float(x.mean()) - EXACT, float(x.std()) / len(x) ** 0.5
            each = seconds / len(x) * 1e6
            print(
                f"{method:12}{steps:5}{error:+10.1e} ({noise:.0e})"
                f"{each / steps * 1e3:10.0f}{each:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
