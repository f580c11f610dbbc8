"""lockstep against PyTorch: the same network, the same initial weights, the same cores, turn by turn in one run.

    compare_torch.py R M                    one rank of one thread, fp32
    compare_torch.py R M --precision bf16
    compare_torch.py R M --ranks 2          against DistributedDataParallel, one process of 2 threads, and our own one rank
    compare_torch.py R M --quick            fewer modes and rounds: less than three minutes

Needs lockstep (--lockstep), MNIST (--data), and to be run by a Python that has what it imports:

    python3 -m venv ~/torch-venv && ~/torch-venv/bin/pip install torch numpy h5py pyyaml

R is the residual network of table 2, M the dense one of table 1, row 6, without augmentation, with Adam as torch.optim has
it, global batch 256. First the loss curves: every fp32 mode of one process takes some steps on one batch, without dropout,
from lockstep's initial weights, and unless its losses are lockstep's within the tolerance, nothing is measured. Then the
rounds: in each, every contender in turn trains for some seconds; a ratio is its step time over ours of the same round, and
tables hold medians over rounds. RESULTS.md says what the lines mean, torch_peer.py what the words of a mode mean.
Exit codes: 0 done, 1 a curve differs, 2 usage or a contender that cannot run, 77 a module is missing.
"""
import argparse
import gzip
import json
import os
import struct
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles

sys.dont_write_bytecode = True
from contenders import CONFIGS, NO_DROPOUT, TOP, Failure, Ours, Theirs, is_reduced  # noqa: E402
from tables import facts_of, section  # noqa: E402
from torch_peer import WORDS  # noqa: E402

# The modes that may be the best; --modes asks for others.
MODES = {
    ("R", "fp32"): ["eager", "channels_last+fused", "channels_last+fused+malloc", "compile+channels_last+fused+malloc"],
    ("M", "fp32"): ["eager", "fused", "fused+malloc", "compile+fused+malloc"],
    ("R", "bf16"): ["channels_last+fused+malloc", "autocast+channels_last+fused+malloc",
                    "compile+autocast+channels_last+fused+malloc", "bf16math+channels_last+fused+malloc"],
    ("M", "bf16"): ["fused+malloc", "autocast+fused+malloc", "compile+autocast+fused+malloc", "bf16math+fused+malloc"],
}
QUICK_MODES = {
    ("R", "fp32"): ["eager", "channels_last+fused+malloc"],
    ("M", "fp32"): ["eager", "fused"],
    ("R", "bf16"): ["channels_last+fused+malloc", "autocast+channels_last+fused+malloc"],
    ("M", "bf16"): ["fused", "autocast+fused"],
}
BATCHES = 64  # in PyTorch's memory: 50 MB of float images
# What two fp32 programs may differ by that add in another order, in units of the first loss: in the first step, and in any.
# Adam takes steps of about the learning rate along gradients that are only rounding, so curves part; PyTorch's own modes
# do so from each other (RESULTS.md).
FIRST_TOLERANCE, CURVE_TOLERANCE = 1e-4, 2e-2


# --- data


def read_idx(folder, name):
    for path, opener in (Path(folder, name), open), (Path(folder, f"{name}.gz"), gzip.open):
        if path.exists():
            with opener(path, "rb") as file:
                content = file.read()
            shape = struct.unpack_from(f">{content[3]}I", content, 4)
            return numpy.frombuffer(content, numpy.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    raise Failure(f"{folder}: no {name}, plain or .gz; --data or LOCKSTEP_DATA names the folder")


def write_idx(folder, part, kind, array):
    header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
    Path(folder, f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())


def read_data(folder):
    return read_idx(folder, "train-images-idx3-ubyte"), read_idx(folder, "train-labels-idx1-ubyte")


def write_data(images, labels, batch, work):
    """batches.npz for PyTorch; and one/, a data set that is the first of these batches: whatever the order in which
    lockstep takes its samples, each step has all of them."""
    count = min(BATCHES, len(images) // batch) * batch
    numpy.savez(work / "batches.npz", images=images[:count], labels=labels[:count])
    (work / "one").mkdir()
    for part in "train", "t10k":
        write_idx(work / "one", part, "images-idx3", images[:batch])
        write_idx(work / "one", part, "labels-idx1", labels[:batch])


# --- loss curves


def deviation(ours, theirs):
    """Of two curves in units of the first loss: {"first": in the first step, "most": the largest}."""
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    errors = [abs(a - b) / ours[0] for a, b in zip(ours, theirs)]
    return {"first": errors[0], "most": max(errors) if all(e == e for e in errors) else float("nan")}


def is_same(error):
    return error["first"] <= FIRST_TOLERANCE and error["most"] <= CURVE_TOLERANCE


def compare_curves(args, ours, peers):
    """What the curves are and by how much each mode's differs; "good": do those agree that must? Of PyTorch with several
    ranks none is asked: its BatchNorm sees a rank's samples alone, which makes it another function."""
    curve = ours.curve(args.curve_steps)
    theirs = {peer.name: peer.curve(args.curve_steps) for peer in peers if peer.ranks == 1}
    if args.precision != "fp32":
        theirs[f"lockstep, {args.precision}"] = ours.curve(args.curve_steps, args.precision)
    full = [other for name, other in theirs.items() if not is_reduced(name)]
    if not full:
        raise Failure("of the modes that run here none is fp32 in one process: nothing vouches for the losses")
    found = {"steps": len(curve), "first": curve[0], "last": curve[-1], "tolerance": [FIRST_TOLERANCE, CURVE_TOLERANCE],
             "deviation": {name: deviation(curve, other) for name, other in theirs.items()},
             "among_pytorch": max(deviation(a, b)["most"] for a in full for b in full)}
    wrong = [name for name, error in found["deviation"].items() if not is_reduced(name) and not is_same(error)]
    for name, error in found["deviation"].items():
        print(f"  losses of {len(curve)} steps, {curve[0]:.4f} .. {curve[-1]:.4f}: {name} differs by {error['first']:.1e} in the "
              f"first, by {error['most']:.1e} at most{', WHICH IS TOO MUCH' if name in wrong else ''}", file=sys.stderr)
    return {**found, "good": not wrong}


# --- rounds


def spread(values):
    q1, _, q3 = quantiles(values, n=4, method="inclusive") if len(values) > 1 else 3 * values
    return {"median": median(values), "q1": q1, "q3": q3}


def run_rounds(args, contenders):
    """A row for each contender, ours first."""
    # The first call compiles and warms up, the second says how many steps fill the time.
    steps = []
    for contender in contenders:
        contender.measure(3)
        steps.append(max(3, round(1e3 * args.seconds / contender.measure(3)[0])))
    rounds = []
    for number in range(args.rounds):
        rounds.append([contender.measure(count) for contender, count in zip(contenders, steps)])
        times = ", ".join(f"{contender.name} {ms:.2f}" for contender, (ms, _) in zip(contenders, rounds[-1]))
        print(f"  round {number + 1} of {args.rounds}, ms: {times}", file=sys.stderr)
    rows = []
    for i, contender in enumerate(contenders):
        rows.append({"contender": contender.name, "steps_of_a_round": steps[i],
                     "ms": spread([r[i][0] for r in rounds]), "ratio": spread([r[i][0] / r[0][0] for r in rounds]),
                     "processors": median(r[i][1] for r in rounds)})
    return rows


def modes_of(args, network):
    table = QUICK_MODES if args.quick else MODES
    return args.modes.split(",") if args.modes else table[network, args.precision]


def spec_of(args, network, ours, work):
    """What every process of PyTorch is told (torch_peer.py)."""
    return {"config": ours.resolve(), "curve_config": ours.resolve(NO_DROPOUT[network]), "batch": args.batch,
            "weights": str(ours.initial()), "data": str(work / "batches.npz")}


def start_peers(args, network, spec, work):
    """PyTorch in every mode that can be had here; what cannot is said and left out."""
    shapes = [(args.ranks, args.threads)]
    if args.ranks > 1:
        shapes.append((1, args.ranks * args.threads))
    peers, absent = [], []
    for mode in modes_of(args, network):
        for ranks, threads in shapes:
            try:
                peers.append(Theirs(args, mode, spec, work, ranks, threads))
            except Failure as failure:
                absent.append(f"{mode} on {ranks} x {threads}")
                print(f"  left out: {failure}", file=sys.stderr)
    return peers, absent


def compare(args, network, work):
    """Everything that is found out about one network."""
    print(f"{network}, {args.precision}, {args.ranks} x {args.threads}:", file=sys.stderr)
    ours = Ours(args, network, work, args.ranks, args.threads)
    peers, absent = start_peers(args, network, spec_of(args, network, ours, work), work)
    try:
        if not peers:
            raise Failure(f"{network}: PyTorch runs in none of the modes")
        result = {"network": network, "config": CONFIGS[network], "precision": args.precision, "absent": absent,
                  "pytorch": peers[0].facts, "curves": compare_curves(args, ours, peers)}
        if result["curves"]["good"] and args.rounds > 0:
            alone = [Ours(args, network, work, 1, 1)] if args.ranks * args.threads > 1 else []
            result["rows"] = run_rounds(args, [ours, *alone, *peers])
            result["command"] = ours.shown()
            result["lockstep"] = {key: value for key, value in ours.report.items() if key not in ("losses", "layers")}
            result["best"] = min(result["rows"][1 + len(alone):], key=lambda row: row["ms"]["median"])["contender"]
        return result
    finally:
        for peer in peers:
            peer.close()


# --- self-check


def self_check(args, network, work):
    """Do the curves agree, and would it be seen if they did not? And does a step take its time?"""
    ours = Ours(args, network, work, 1, 1)
    peer = Theirs(args, "channels_last" if network == "R" else "eager", spec_of(args, network, ours, work), work, 1, 1)
    curve = ours.curve(args.curve_steps)
    same, other = (deviation(curve, peer.curve(args.curve_steps, factor)) for factor in (1, 1.5))
    times = [contender.measure(2)[0] for contender in (ours, peer)]
    peer.close()
    print(f"{network}: losses of {len(curve)} steps differ by {same['first']:.1e} in the first, {same['most']:.1e} at most; at "
          f"1.5 times the learning rate {other['most']:.1e}; ms a step: {times[0]:.1f}, PyTorch {times[1]:.1f}")
    return is_same(same) and not is_same(other) and min(times) > 0


# --- the command line


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="R, M, or both")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of a rank")
    parser.add_argument("--cores", help="cores that all contenders share, such as 0,1; default: ranks x threads, the last")
    parser.add_argument("--modes", help="PyTorch's modes, separated by commas")
    parser.add_argument("--quick", action="store_true", help="fewer modes, 3 rounds of 2 seconds, 10 steps of a curve")
    parser.add_argument("--rounds", type=int, help="default 7; 0: the curves alone")
    parser.add_argument("--seconds", type=float, help="of a contender in a round, about; default 5")
    parser.add_argument("--curve-steps", type=int, help="default 20")
    parser.add_argument("--batch", type=int, default=256, help="global batch")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                        help="cpu: processor time, on a machine that others use; one rank of one thread only")
    parser.add_argument("--data", default=os.environ.get("LOCKSTEP_DATA", str(TOP / "data" / "mnist")))
    parser.add_argument("--lockstep", default=str(TOP / "build" / "release" / "lockstep"))
    parser.add_argument("--mpirun", default="mpirun", help="what starts ranks, without -n")
    parser.add_argument("--json", action="store_true", help="one object on standard output instead of tables")
    parser.add_argument("--markdown", metavar="FILE", help="append the tables to FILE, such as experiments/bench/RESULTS.md")
    parser.add_argument("--self-check", action="store_true", help="do the curves agree, and is a wrong one seen? no comparison")
    args = parser.parse_args()
    if not set(args.networks) <= set(CONFIGS) or not args.networks:
        parser.error("which network: R, M, or both")
    unknown = {word for mode in (args.modes or "eager").split(",") for word in mode.split("+")} - WORDS
    if unknown:
        parser.error(f"no words of a mode: {', '.join(sorted(unknown))}; there are {', '.join(sorted(WORDS))}")
    if args.clock == "cpu" and args.ranks * args.threads > 1:
        parser.error("--clock cpu: ranks that wait for each other use processor time too; it means nothing there")
    args.rounds = args.rounds if args.rounds is not None else 3 if args.quick else 7
    args.seconds = args.seconds or (2 if args.quick else 5)
    args.curve_steps = args.curve_steps or (10 if args.quick or args.self_check else 20)
    available = sorted(os.sched_getaffinity(0))
    wanted = args.ranks * args.threads
    args.cores = [int(core) for core in args.cores.split(",")] if args.cores else available[-wanted:]
    args.data, args.lockstep = (str(Path(path).resolve()) for path in (args.data, args.lockstep))
    return args


def main():
    args = parse()
    results = []
    with tempfile.TemporaryDirectory(prefix="compare_torch-") as folder:
        images, labels = read_data(args.data)
        args.split = min(50000, len(images))  # as the configurations have it, where there are so many
        for network in args.networks:
            work = Path(folder, network)
            work.mkdir()
            write_data(images, labels, args.batch, work)
            results.append((self_check if args.self_check else compare)(args, network, work))
    if args.self_check:
        return 0 if all(results) else 1
    facts = facts_of(args)
    text = section(facts, results)
    print(json.dumps({**facts, "results": results}, indent=2) if args.json else text)
    good = all(result["curves"]["good"] for result in results)
    if args.markdown and good:
        with open(args.markdown, "a", encoding="utf-8") as file:
            file.write(f"\n{text}")
    return 0 if good else 1


if __name__ == "__main__":
    absent_modules = [name for name in ("torch", "numpy", "h5py", "yaml") if not find_spec(name)]
    if absent_modules:
        print(f"skipped: {sys.executable} has no {', '.join(absent_modules)}", file=sys.stderr)
        sys.exit(77)
    import numpy
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"compare_torch.py: {failure}", file=sys.stderr)
        sys.exit(2)
