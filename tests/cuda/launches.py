"""How often a training step launches each kernel, and what the passes of one of 256 samples move: as
tests/cuda/launches.txt says, neither more nor less.

launches.py PROGRAM SOURCE_FOLDER DATA WORK_FOLDER [--write]: PROGRAM has an emulated GPU, which counts (the difference
between a run of 1 and one of 2 steps, of 10 in the epoch); --write sets the file to what was found."""

import collections
import json
import os
import pathlib
import subprocess
import sys

program = pathlib.Path(sys.argv[1]).resolve()
source, data, work = (pathlib.Path(a).resolve() for a in sys.argv[2:5])
BUDGET = source / "tests" / "cuda" / "launches.txt"
NETWORKS = ("experiments/table1/row6-published.yaml", "experiments/table2/row1-stated.yaml",
            "experiments/table2/row1-stated.yaml,precision=bf16")
HEADER = """# Launches of each kernel in a training step, and all of them. A launch costs some microseconds, which small networks
# feel: a change here is looked at by whoever reviews it (launches.py --write). moved: bytes of activations and their
# gradients that the passes of a step of 256 read and write, by the plan: each of them once a pass.
"""


def launches(network, steps):
    counts = work / "counts.txt"
    counts.unlink(missing_ok=True)
    file, *words = network.split(",")
    result = subprocess.run(
        [program, "train", source / file, *words, f"data={data}", "split=49", "batch=5", "epochs=1", f"steps={steps}",
         "device=cuda", "comm=self", "check_interval=0", "progress=none", "overwrite=true", f"output={work / 'run'}"],
        env={**os.environ, "LOCKSTEP_EMULATED_LAUNCHES": str(counts)}, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(result.stdout + result.stderr)
    lines = [line.split(maxsplit=1) for line in counts.read_text().splitlines()]
    return collections.Counter({name.strip("()").replace(" ", ""): int(count) for count, name in lines})


def moved(network):
    file, *words = network.split(",")
    result = subprocess.run([program, "inspect", source / file, *words, f"data={data}", "batch=256", "device=cuda", "--json"],
                            capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(result.stdout + result.stderr)
    return json.loads(result.stdout)["memory"][0]["moved"]


def of_a_step(network):
    more, fewer = launches(network, 2), launches(network, 1)
    found = {name: more[name] - fewer[name] for name in more if more[name] != fewer[name]}
    return {**found, "all": sum(found.values()), "moved": moved(network)}


def read_budget():
    lines = [line.split() for line in BUDGET.read_text().splitlines() if line and not line.startswith("#")]
    return {(network, kernel): int(count) for network, kernel, count in lines}


def main():
    work.mkdir(parents=True, exist_ok=True)
    found = {(network, kernel): count for network in NETWORKS for kernel, count in sorted(of_a_step(network).items())}
    if "--write" in sys.argv:
        BUDGET.write_text(HEADER + "".join(f"{network} {kernel} {count}\n" for (network, kernel), count in found.items()))
    budget = read_budget()
    failures = [f"{network}: {kernel} {found.get((network, kernel), 0)} in a step, expected "
                f"{budget.get((network, kernel), 0)}" for network, kernel in sorted(found.keys() | budget.keys())
                if found.get((network, kernel)) != budget.get((network, kernel))]
    print("\n".join(failures or [f"{network}: {found[network, 'all']} launches a step" for network in NETWORKS]))
    sys.exit(len(failures) > 0)


main()
