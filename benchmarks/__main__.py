"""Runs the benchmarks in turn: all of them, or those named."""

import argparse
import subprocess
import sys

BENCHMARKS = {
    "weak_order": "weak errors and orders of the solvers, without Monte-Carlo noise",
    "orders": "weak orders of four and eight inputs, by simulation against exact laws",
    "steps": "whether the automatic step keeps what it states, on 100 random problems",
    "laws": "every law of the limits, by another method and by simulation",
    "positive_definite": "steps that lose positive definiteness, on hostile starts",
    "drifts": "a user's drifts that are linear in V, against their exact means",
    "one_step": "one layer of literal networks against drift and noise, every entry",
    "explosion": "explosions and levels by a time, against exact laws",
    "networks": "the limit against literal networks as width grows",
    "unshaped": "unshaped networks against their laws as width grows",
    "strong_order": "strong orders, with Lévy areas and without",
    "estimates": "whether expectations keep the tolerance that was asked for",
    "work_precision": "CPU time to a weak error, against what users of Diffrax write",
    "speed": "CPU time per path and step against what a user would write first",
    "attention": "CPU time per path and step of attention against an MLP's",
    "growth": "CPU time of a step from 16 to 128 inputs",
    "busy": "a default call beside processes that keep all cores busy",
    "compilation": "CPU time of the first call, by the number of inputs",
    "calls": "what a call takes beside its run, and a sweep beside one solve",
    "literal": "CPU time of a path against a literal network's, all weights drawn",
    "ensemble": "memory and time of up to 1e7 paths, cost of statistics, two devices",
    "cores": "wall time on one device of the CPU and on two, and whether bits are the same",
    "kills": "ensembles that are killed at random, against one that never was",
    "gradients": "reverse and forward mode against the solve alone, and their memory",
    "crossover": "packed against whole matrices, by the number of inputs",
}


def main() -> int:
    """Each benchmark in a process of its own; the worst exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(
            f"unknown benchmark {unknown[0]!r}; choose from {', '.join(BENCHMARKS)}"
        )
    status = 0
    for name in names:
        print(f"\n== {name}: {BENCHMARKS[name]}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        status = max(status, subprocess.run(command, check=False).returncode)
    return status


if __name__ == "__main__":
    sys.exit(main())
