#!/usr/bin/env python3
"""How a configuration scales over ranks, measured and predicted.

    experiments/bench/scaling.py build/release/lockstep experiments/table2/row1-stated.yaml --ranks 1 2 4 [KEY=VALUE ..]

For each number of ranks P it runs `lockstep bench step` with the configuration's global batch (strong scaling) and with
that batch times P (weak scaling), and `lockstep bench comm`, in turns, several rounds of them. From the sums by
themselves and the step on one rank alone a model is made,

    t(B, P) = c B ceil(V/P)/V + cuts L(P) + G(P) + n b(P)

with V shards, B images, n bytes of gradient that are added over ranks (on one host those of dense layers are not); L is the time of a cut's vector, G and b those of a gradient, all measured
at P. Nothing in it is fitted to the steps on more than one rank, so that predicted against measured is a test of it.

Beyond the measured numbers of ranks it is an extrapolation and marked as one: every rank sends to every other, so that
L and G grow like P - 1, and each moves 2 (P-1)/P n bytes. --latency and --gigabytes put a network's own figures there,
over which the whole gradient goes; with --hosts those are measured, one message at a time between each two hosts.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path


def bench(options, ranks, kind, *keys):
    """One object of `lockstep bench KIND` on so many ranks."""
    launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    if launcher and options.hosts:  # as evenly as can be, more on the first ones
        each, more = divmod(ranks, len(options.hosts))
        launcher += ["-H", ",".join(f"{h}:{each + (i < more)}" for i, h in enumerate(options.hosts) if each + (i < more))]
    # of a key that both have, the value of this measurement
    words = {word.split("=")[0]: word for word in (*options.keys, *keys)}.values()
    command = launcher + [options.lockstep, "bench", kind, options.config, *words, "--json"]
    # as launch/environment.sh: ranks may be more than cores, and threads are free to move
    environment = {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none", **os.environ}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"scaling.py: exit code {done.returncode} of {' '.join(command)}")
    return json.loads(done.stdout)


def measure(options):
    """Objects by kind and number of ranks, one of each round."""
    found = {}
    one = bench(options, 1, "step", "bench_steps=1", "bench_warmup=0")
    batch, shards = one["batch"], one["shards"]
    for _ in range(options.rounds):
        for ranks in options.ranks:
            found.setdefault(("strong", ranks), []).append(bench(options, ranks, "step", f"batch={batch}"))
            if ranks > 1:
                found.setdefault(("weak", ranks), []).append(bench(options, ranks, "step", f"batch={batch * ranks}"))
                found.setdefault(("comm", ranks), []).append(bench(options, ranks, "comm"))
    return found, batch, shards


def median(objects, pick):
    return statistics.median(pick(o) for o in objects)


def step_seconds(objects):
    return 1e-3 * median(objects, lambda o: o["step_ms"])


class Model:
    """Seconds of a step, from one rank's step and the sums over ranks by themselves."""

    def __init__(self, found, batch, shards, options):
        one = found["strong", 1]
        self.shards = shards
        self.cuts = one[0]["cuts"]
        self.bytes = one[0]["gradient_bytes"]
        self.added = found[next(key for key in found if key[0] == "strong" and key[1] > 1)][0]["added_bytes"]
        phases = [p for p in one[0]["phases_ms"] if p != "communication"]
        self.image = 1e-3 * median(one, lambda o: sum(o["phases_ms"][p]["median"] for p in phases)) / batch
        self.measured = {}
        for kind, ranks in found:
            if kind != "comm":
                continue
            runs = found[kind, ranks]
            # a cut's vector: the mean over the sizes up to 512 bytes, which is where BatchNorm's are
            cut = 1e-6 * median(runs, lambda o: statistics.mean(c["tree_us"]["median"] for c in o["cuts"][:3]))
            self.measured[ranks] = (cut, 1e-6 * median(runs, lambda o: o["latency_us"]),
                                    1e-9 * median(runs, lambda o: o["ns_per_byte"]))
        # the messages between hosts by themselves: the slowest pair's
        pairs = [p for kind, ranks in found if kind == "comm" for o in found[kind, ranks] for p in o["pairs"]]
        self.latency = max((p["latency_us"]["median"] for p in pairs), default=None)
        self.gigabytes = min((1e-3 * p["bytes"] / p["bytes_us"]["median"] for p in pairs), default=None)
        self.network = (self.latency if options.latency is None else options.latency,
                        self.gigabytes if options.gigabytes is None else options.gigabytes)

    def sums(self, ranks):
        """Of a cut, of a gradient of no bytes, and of one byte of it."""
        if ranks == 1:
            return 0.0, 0.0, 0.0
        if ranks in self.measured:
            return self.measured[ranks]
        most = max(self.measured)
        cut, gradient, byte = self.measured[most]
        byte /= 2 * (most - 1) / most
        cut, gradient = cut / (most - 1), gradient / (most - 1)
        latency, gigabytes = self.network
        if latency is not None:
            cut, gradient = 1e-6 * latency, 2e-6 * latency
        if gigabytes is not None:
            byte = 1e-9 / gigabytes
        return cut * (ranks - 1), gradient * (ranks - 1), byte * 2 * (ranks - 1) / ranks

    def seconds(self, batch, ranks):
        cut, gradient, byte = self.sums(ranks)
        share = -(-self.shards // ranks) / self.shards
        over_network = ranks not in self.measured and self.network != (None, None)
        return self.image * batch * share + self.cuts * cut + gradient + (self.bytes if over_network else self.added) * byte

    def pays_above(self, ranks):
        """The batch from which so many ranks are faster than half as many; None: they never are."""
        longer = self.seconds(0, ranks) - self.seconds(0, ranks // 2)
        shards_before, shards = (-(-self.shards // p) for p in (ranks // 2, ranks))
        shorter = self.image * (shards_before - shards) / self.shards
        return max(0, math.ceil(longer / shorter)) if shorter > 0 else None


def print_measured(found, model, batch, ranks_list):
    one = step_seconds(found["strong", 1])
    print(f"{'':7}{'ranks':>6}{'batch':>8}{'ms':>11}{'quartiles':>20}{'predicted':>11}{'efficiency':>12}{'predicted':>11}"
          f"{'by cpu':>9}")
    for kind in "strong", "weak":
        for ranks in ranks_list:
            if (kind, ranks) not in found:
                continue
            runs = found[kind, ranks]
            images = runs[0]["images_per_step"]
            took, predicted = step_seconds(runs), model.seconds(images, ranks)
            work = images / batch  # of the step on one rank
            efficiency = work * one / (ranks * took)
            expected = work * model.seconds(batch, 1) / (ranks * predicted)
            # the work by processor time: whoever else wants the cores, but waiting counts as work
            cpu = work * median(found["strong", 1], lambda o: o["processor_ms"]["median"]) / median(
                runs, lambda o: o["processor_ms"]["median"])
            low, high = (median(runs, lambda o, q=q: o["step_ms_spread"][q]) for q in ("q1", "q3"))
            print(f"{kind:7}{ranks:6}{images:8}{1e3 * took:11.3f}{low:10.3f}{high:10.3f}{1e3 * predicted:11.3f}"
                  f"{efficiency:12.1%}{expected:11.1%}{cpu:9.1%}")


def print_extrapolated(model, batch, most):
    network = "; ".join(f"{name} {value}" for name, value in zip(("latency [us]", "GB/s"), model.network) if value is not None)
    print(f"\nEXTRAPOLATED, not measured, beyond {most} ranks ({network or 'messages between all ranks as between these'}):")
    print(f"{'ranks':>6}{'strong ms':>12}{'efficiency':>12}{'weak ms':>12}{'efficiency':>12}{'pays above batch':>18}")
    ranks = 2
    while ranks <= model.shards:
        strong, weak = model.seconds(batch, ranks), model.seconds(batch * ranks, ranks)
        one = model.seconds(batch, 1)
        pays = model.pays_above(ranks)
        print(f"{ranks:6}{1e3 * strong:12.3f}{one / (ranks * strong):12.1%}{1e3 * weak:12.3f}{one / weak:12.1%}"
              f"{'never' if pays is None else pays:>18}{'' if ranks > most else '   within what is measured'}")
        ranks *= 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lockstep", help="the program")
    parser.add_argument("config", help="a configuration")
    parser.add_argument("keys", nargs="*", help="KEY=VALUE of the configuration or of bench; shards bounds the ranks")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="numbers of ranks to measure; 1 always is")
    parser.add_argument("--hosts", type=lambda text: text.split(","), metavar="A,B,..",
                        help="hosts over which mpirun deals the ranks out; default: this one")
    parser.add_argument("--rounds", type=int, default=3, help="times that all is run in turn")
    parser.add_argument("--latency", type=float, help="microseconds of a message between hosts, for the extrapolation")
    parser.add_argument("--gigabytes", type=float, help="gigabytes a second between hosts, for the extrapolation")
    parser.add_argument("--json", metavar="FILE", help="keep what the runs printed")
    parser.add_argument("--force", action="store_true", help="replace the file of --json")
    options = parser.parse_intermixed_args()
    options.ranks = sorted({1, *options.ranks})
    if options.ranks == [1]:
        parser.error("--ranks: expected a number above 1")
    if options.json and Path(options.json).exists() and not options.force:
        print(f"scaling.py: {options.json}: is there already; expected a new file (--force replaces it)", file=sys.stderr)
        sys.exit(73)
    found, batch, shards = measure(options)
    if options.json:
        with open(options.json, "w") as file:
            json.dump([{"kind": kind, "ranks": ranks, "runs": runs} for (kind, ranks), runs in found.items()], file)
    model = Model(found, batch, shards, options)
    setting = found["strong", 1][0]
    print(f"{options.config}: batch {batch}, {shards} shards, {setting['threads']} thread(s) a rank, {setting['precision']}, "
          f"{setting['instruction_set']}; {setting['processor']}, {setting['cores']} cores; {options.rounds} round(s)")
    for ranks, (cut, gradient, byte) in sorted(model.measured.items()):
        print(f"{ranks} ranks: a cut {1e6 * cut:.1f} us, {model.cuts} of them; the gradient {1e6 * gradient:.1f} us + "
              f"{model.added} bytes at {1e-9 / byte if byte else math.inf:.2f} GB/s")
    if model.latency is not None:
        print(f"messages between hosts, the slowest pair: {model.latency:.1f} us one way, {model.gigabytes:.2f} GB/s")
    print_measured(found, model, batch, options.ranks)
    print_extrapolated(model, batch, max(options.ranks))


if __name__ == "__main__":
    main()
