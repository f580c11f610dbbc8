#!/usr/bin/env python3
"""What it costs that the bits do not depend on the number of ranks.

    experiments/bench/bits_cost.py [--build build/release] [--ranks 2] [--rounds 7] [R] [M]

`lockstep` with its 16 shards, its tree and its window, against the same program with one shard for each rank and every
sum over ranks made by MPI_Allreduce (tests/bench/with_allreduce.c), which is what frameworks do; and against that program
with our window kept out of the way, `window=false`, to see what the window brings. They take turns, A B C A B C; a ratio
is of step times of one round. Before that, two steps of both must give the same loss within rounding.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import contenders


def bench(options, program, network, keys):
    command = ["mpirun", "-n", str(options.ranks), str(options.build / program), "bench", "step",
               contenders.CONFIGS[network], *contenders.SAME, "split=50000", "batch=256", "threads=1", *keys, "--json"]
    done = subprocess.run(command, cwd=contenders.TOP, env=contenders.mpi_environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bits_cost.py: exit code {done.returncode} of {' '.join(command)}: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout)


def quartiles(values):
    cut = statistics.quantiles(values, n=4, method="inclusive")
    return f"{statistics.median(values):.3f} ({cut[0]:.3f} .. {cut[2]:.3f})"


def compare(options, network):
    one_shard = [f"shards={options.ranks}", "window=false"]
    contestants = {"tree, window": ("lockstep", []), "tree, messages": ("lockstep", ["window=false"]),
                   "one shard a rank, MPI_Allreduce": ("tests/bench/lockstep_allreduce", one_shard)}
    losses = [bench(options, program, network, [*keys, "bench_warmup=0", "bench_steps=2"])["losses"]
              for program, keys in contestants.values()]
    for other in losses[1:]:
        if any(abs(a - b) > 1e-4 * abs(b) for a, b in zip(losses[0], other)):
            sys.exit(f"bits_cost.py: {network}: other losses: {losses}; nothing was measured")
    wall = {name: [] for name in contestants}
    processor = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, (program, keys) in contestants.items():
            report = bench(options, program, network, [*keys, f"bench_steps={options.steps or (60 if network == 'R' else 600)}"])
            wall[name].append(report["step_ms"])
            processor[name].append(report["processor_ms"]["median"])
    base = "one shard a rank, MPI_Allreduce"
    print(f"\n{network}, {options.ranks} ranks of 1 thread, {options.rounds} rounds\n")
    print("| | ms a step | time / one shard's | by processor time |\n|---|---|---|---|")
    for name in contestants:
        by_wall = [a / b for a, b in zip(wall[name], wall[base])]
        by_processor = [a / b for a, b in zip(processor[name], processor[base])]
        print(f"| {name} | {statistics.median(wall[name]):.2f} | {quartiles(by_wall)} | {quartiles(by_processor)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="R|M", help="default: both")
    parser.add_argument("--build", type=Path, default=contenders.TOP / "build/release")
    parser.add_argument("--ranks", type=int, default=2, help="a power of two")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, help="of each measurement; 60 of R and 600 of M")
    options = parser.parse_args()
    options.build = options.build.resolve()
    if not set(options.networks) <= set(contenders.CONFIGS):
        parser.error(f"networks: found {' '.join(options.networks)}, expected R or M")
    for network in options.networks or contenders.CONFIGS:
        compare(options, network)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
