"""Result files: one a cell, all that the report needs of it. Written from a run folder, read by the report alone.

  cell, seed, command      what was run, and the command that runs it again
  bits, data_set, data_digest, config       what the numbers depend on; a cell with the same four is done
  lockstep, fingerprint, steps              of the final checkpoint
  history                  a list for each column of metrics.h5's epochs; null: not measured
  tests                    likewise, of the tests on the way
  test                     at the end: loss_at_end, accuracy_at_end (lists of one), confusion [true][predicted]
  attack, pictures         of the first seed alone: fast gradient sign method; first weights, kernels and what they make
                           of an image. Arrays of numbers of 8 bits are packed (pack()).
  provenance               machine, times, rates: all that may differ between two runs of the same numbers"""

import base64
import json
import os
import platform
import re
import sys
import tempfile
import zlib
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import draw_network  # noqa: E402
import runs  # noqa: E402

HISTORY = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")
FIRST_SEED = 1
MOST_UNITS = 100
# Rows whose weights the report shows, as the paper does.
PICTURED = ("table1/row6-published", "table1/row6-stated", "table2/row3-published", "table2/row3-stated")


class Unfinished(Exception):
    """The run has not come to its end."""


def reals(values):
    """Numbers for JSON, which has none that is not finite."""
    return [float(value) if np.isfinite(value) else None for value in values]


def pack(array):
    """An array of int8 or uint8 as text."""
    array = np.ascontiguousarray(array)
    assert array.dtype in (np.int8, np.uint8), array.dtype
    return {"type": array.dtype.name, "shape": list(array.shape),
            "zlib": base64.b64encode(zlib.compress(array.tobytes(), 9)).decode()}


def unpack(packed):
    data = zlib.decompress(base64.b64decode(packed["zlib"]))
    return np.frombuffer(data, packed["type"]).reshape(packed["shape"])


def quantise(values):
    """Signed numbers to 8 bits: {"scale", "values"}, values times scale."""
    scale = float(np.abs(values).max()) / 127 or 1.0
    return {"scale": scale, "values": pack(np.rint(values / scale).astype(np.int8))}


def dequantise(quantised):
    return unpack(quantised["values"]).astype(np.float64) * quantised["scale"]


# --- of a run folder

def processor():
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def provenance(run):
    with h5py.File(run.folder / "metrics.h5") as file:
        columns = {name: file[f"provenance/{name}"][()] for name in ("seconds", "images_per_second")}
    facts = {name: run.facts[name] for name in ("instruction_set", "backend", "ranks", "threads", "started", "compiler",
                                                "mpi", "hdf5", "git") if name in run.facts}
    here = run.facts.get("host") == platform.node()
    return {**facts, "processor": processor() if here else "another machine", "cores": os.cpu_count() if here else None,
            "seconds": float(columns["seconds"].sum()), "images_per_second": float(np.median(columns["images_per_second"]))}


def attack(run, program):
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "attack.h5"
        program.attack(run.checkpoint, path)
        with h5py.File(path) as file:
            curve = {name: reals(file[f"curve/{name}"][()]) for name in ("epsilon", "loss", "accuracy")}
            examples = {name: data[()] for name, data in file["examples"].items()}
            samples = int(file["curve"].attrs["samples"])
    original = np.rint(examples["original"] * 255).astype(np.uint8)
    return {"samples": samples, **curve, "class": [int(x) for x in examples["class"]],
            "predicted": [[int(x) for x in row] for row in examples["predicted"]],
            "original": pack(original), "sign": pack(np.sign(examples["perturbation"]).astype(np.int8))}


def pictures(run, attacked):
    name, weight = run.first_weight()
    if weight.ndim == 2:
        return {"weights": {"name": name, "units": len(weight), "image": list(run.image_shape()),
                            **quantise(weight[:MOST_UNITS])}}
    image, label = unpack(attacked["original"])[0] / 255, attacked["class"][0]
    maps, applied = draw_network.first_maps(run, image)
    return {"kernels": {"name": name, **quantise(weight[:, 0])},
            "input": {"class": label, "image": pack(unpack(attacked["original"])[0])},
            "maps": {"applied": applied, **quantise(maps)}}


def check_finished(run):
    steps = int(run.step["step"][-1]) if len(run.step.get("step", ())) else 0
    if "accuracy" not in run.test:
        raise Unfinished(f"{run.folder} has not come to its end (step {steps})")
    return steps


def of_run(cell, folder, program, old_bits=None):
    """The result of a run folder. old_bits: version of the bits of a build that did not record it."""
    run = runs.Run(folder)
    steps = check_finished(run)
    config = program.today((Path(folder) / "config.yaml").read_text(encoding="utf-8"))
    if config != program.resolved(cell):
        raise ValueError(f"{folder}: its configuration is not that of {cell.row.name} here; first difference: "
                         + next((f"{a!r}, here {b!r}" for a, b in zip(config.splitlines(),
                                                                      program.resolved(cell).splitlines()) if a != b),
                                "its length"))
    bits = run.facts.get("bits", old_bits)
    if bits is None:
        raise ValueError(f"{folder}: its build did not record the version of its bits; --bits N says it")
    evaluation = program.evaluate(run.checkpoint)
    if evaluation["step"] != steps or evaluation["data_digest"] != run.facts["data_digest"]:
        raise ValueError(f"{folder}: its newest checkpoint is not of its last step, or the data are others")
    settings = {**cell.row.overrides, **program.settings}
    command = " ".join(["lockstep train", f"experiments/{cell.row.config}", f"seed={cell.seed}",
                        *(f"{key}={value}" for key, value in settings.items())])
    result = {
        "cell": cell.row.name, "seed": cell.seed, "command": command, "bits": int(bits),
        "data_set": run.data_set, "data_digest": evaluation["data_digest"], "config": config,
        "lockstep": run.facts["lockstep"], "fingerprint": evaluation["fingerprint"], "steps": steps,
        "history": {name: reals(run.epoch[name]) for name in HISTORY},
        "tests": {name: ([int(x) for x in values] if name == "epoch" else reals(values))
                  for name, values in run.tests.items()},
        "test": {"loss_at_end": [run.test["loss"]], "accuracy_at_end": [run.test["accuracy"]],
                 "confusion": evaluation["test"]["confusion"]},
    }
    if cell.seed == FIRST_SEED:
        result["attack"] = attack(run, program)
        if cell.row.name in PICTURED:
            result["pictures"] = pictures(run, result["attack"])
    result["provenance"] = provenance(run)
    return result


# --- files

def path_of(folder, cell):
    return Path(folder) / cell.row.name / f"seed{cell.seed}.json"


def write(path, result):
    """A member a line; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value, allow_nan=False, separators=(',', ':'))}"
                       for name, value in result.items())
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    partial.replace(path)


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_all(folder):
    """All result files below a folder, by cell and seed."""
    found = [read(path) for path in Path(folder).glob("*/*/seed*.json")]
    return sorted(found, key=lambda result: (natural(result["cell"]), result["seed"]))


def natural(name):
    """row2 before row10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def is_done(path, cell, program, digest, bits):
    """Is there a result of these very numbers?"""
    try:
        result = read(path)
    except (OSError, ValueError):
        return False
    return (result["bits"], result["data_digest"]) == (bits, digest) and program.is_of(cell, result["config"])


def digest_of(metrics):
    """Of the data that a run was trained on."""
    with h5py.File(metrics) as file:
        return file["provenance/data_digest"].asstr()[()]
