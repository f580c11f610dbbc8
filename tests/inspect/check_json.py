"""Compares what `lockstep inspect --json` printed with what h5py reads: check_json.py JSON SUBJECT.

Without h5py only that it is JSON is checked, and said so.
"""
import json
import math
import os
import sys


def same(a, b):
    """JSON has null for what is not finite."""
    return not math.isfinite(b) if a is None else a == b


def check_tensor(numpy, found, data):
    values = data[()].astype(numpy.float64)
    assert found["shape"] == list(data.shape), found
    assert found["dtype"] == {"<f4": "f32", "<f8": "f64", "<i8": "i64"}[data.dtype.str], found
    finite = values[numpy.isfinite(values)]
    assert found["min"] == finite.min() and found["max"] == finite.max(), found
    assert math.isclose(found["mean"], finite.mean(), rel_tol=1e-9, abs_tol=1e-12), found
    assert math.isclose(found["std"], finite.std(), rel_tol=1e-9, abs_tol=1e-12), found
    assert found["not_finite"] == values.size - finite.size, found
    assert found["zero_fraction"] == (values == 0).sum() / values.size, found


def check_checkpoint(h5py, numpy, found):
    with h5py.File(found["path"]) as file:
        progress = file["progress"].attrs
        for key in "step", "epoch", "batch_in_epoch", "seed", "height", "width", "classes", "finished":
            assert found[key] == progress[key], key
        for key in "data_digest", "fingerprint":
            assert int(found[key], 16) == progress[key], key
        assert found["configuration"] == file["config/yaml"][()].decode()
        names = []
        for group in "model", "optimizer/m", "optimizer/v", "batchnorm":
            names += [f"{group}/{name}" for name in file[group]]
        assert [tensor["name"] for tensor in found["tensors"]] == names
        for tensor in found["tensors"]:
            check_tensor(numpy, tensor, file[tensor["name"]])


def check_metrics(h5py, found):
    with h5py.File(found["path"]) as file:
        provenance = file["provenance"]
        facts = {name: provenance[name][()].decode() for name in provenance if provenance[name].shape == ()}
        assert found["provenance"] == facts, set(facts) ^ set(found["provenance"])
        assert found["steps"] == len(file["step/step"])
        for key, value in found["last_step"].items():
            assert same(value, file["step"][key][-1]), key
        assert [row["epoch"] for row in found["epochs"]] == list(file["epoch/epoch"])
        for i, row in enumerate(found["epochs"]):
            for key, value in row.items():
                column = file["epoch"][key] if key in file["epoch"] else provenance[key]
                assert same(value, column[i]), key
        tests = [dict(zip(file["tests"], row)) for row in zip(*(file["tests"][name] for name in file["tests"]))]
        assert found["tests"] == tests and tests
        assert found["test"] == dict(file["test"].attrs)
        trail = file["trail"]
        assert found["trail"]["length"] == len(trail["step"]) and found["trail"]["tensors"] == trail["tensors"].shape[1]
        assert int(found["trail"]["last_fingerprint"], 16) == trail["fingerprint"][-1]


def main():
    with open(sys.argv[1]) as file:
        found = json.load(file)
    metrics = found if found["kind"] == "metrics" else found.get("metrics")
    checkpoint = found if found["kind"] == "checkpoint" else found.get("checkpoint")
    assert found["path"] == sys.argv[2] and (metrics or checkpoint)
    assert os.path.isdir(sys.argv[2]) == (found["kind"] == "run")
    try:
        import h5py
        import numpy
    except ImportError:
        print("left out: the comparison with h5py, which is not installed")
        return
    if metrics:
        check_metrics(h5py, metrics)
    if checkpoint:
        check_checkpoint(h5py, numpy, checkpoint)


main()
