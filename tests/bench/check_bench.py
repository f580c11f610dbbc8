"""Checks what `lockstep bench` wrote: check_bench.py KIND FILE ARGUMENTS.."""
import json
import math
import re
import sys


def read(path):
    with open(path) as file:
        return json.load(file)


def is_spread(s):
    return 0 <= s["min"] <= s["q1"] <= s["median"] <= s["q3"] <= s["max"]


def step(path, ranks, threads, steps, warmup, same_losses=None):
    found = read(path)
    assert found["bench"] == "step"
    assert found["ranks"] == int(ranks) and found["threads"] == int(threads), found
    assert found["timed_steps"] == int(steps) and found["warmup_steps"] == int(warmup)
    assert found["precision"] in ("fp32", "fp64", "bf16") and found["instruction_set"]
    assert is_spread(found["step_ms_spread"]) and found["step_ms"] == found["step_ms_spread"]["median"] > 0
    batch, seconds = found["images_per_step"], found["step_ms"] / 1e3
    assert math.isclose(found["images_per_s"], batch / seconds, rel_tol=1e-9)
    assert math.isclose(found["gflops"], 1e-9 * found["flop_per_image"] * batch / seconds, rel_tol=1e-9)
    # what the cores can do: by the clock, bursts of 10 ms and steps may have had different shares of a busy machine
    ceiling = 1.2 * found["ranks"] * found["threads"] * found["fma_gflops_per_core"]
    assert 0 < found["gflops"] <= ceiling and 0 < found["fma_gflops"] <= ceiling, found
    assert 0 < found["gflops_per_core"] <= 1.2 * found["fma_gflops_per_core"]
    assert is_spread(found["ceilings"]["copy_gb_per_s"]["all"]) and is_spread(found["ceilings"]["fma_gflops"]["all"])
    phases = found["phases_ms"]
    assert list(phases) == ["data", "forward", "backward", "communication", "update", "other"]
    assert all(is_spread(p) for p in phases.values()), phases
    # of one step they add up to it; their medians only about
    together = sum(p["median"] for p in phases.values())
    assert found["step_ms_spread"]["min"] / 2 < together < 2 * found["step_ms_spread"]["max"], (together, found["step_ms"])
    layers = found["layers"]
    weighted = [row for row in layers if row["operation"] in ("dense", "conv2d")]
    assert len(weighted) >= 3 and all(row["layer"] for row in weighted), layers
    timed = [row[p] for row in layers for p in ("forward", "backward", "weight_gradient") if "gflops" in row.get(p, {})]
    # of products with inputs that are 0 in all rows, which count here and are left out: up to a third of MNIST's
    assert all(0 < t["gflops"] <= 1.5 * ceiling for t in timed), timed
    together = sum(1e6 * t["gflops"] * t["ms"] for t in timed)
    assert math.isclose(together, found["flop_per_image"] * batch, rel_tol=1e-9), together
    memory = found["memory_mib"]
    assert memory["peak"]["min"] > memory["training_plan"] + memory["state"] + memory["gradients"], memory
    losses = found["losses"]
    assert len(losses) >= int(steps) + int(warmup) and all(isinstance(x, float) for x in losses)
    if same_losses:
        assert losses == read(same_losses)["losses"], "losses depend on ranks or threads"


def layers(path):
    found = read(path)
    assert found["bench"] == "layers"
    pieces = {(p["layer"], p["piece"]): p for p in found["pieces"]}
    # row 6: 784-600-100-10, whose first dense layer has no gradient of its input to compute
    inputs_outputs = {"2": (784, 600), "6": (600, 100), "10": (100, 10)}
    for layer, (inputs, outputs) in inputs_outputs.items():
        for piece in ("forward", "backward", "weight gradient"):
            p = pieces[layer, piece]
            assert is_spread(p["ms"]) and is_spread(p["processor_ms"]) and p["ms"]["median"] > 0, p
            # at least input or output and the weight, once
            assert p["bytes"] >= 4 * (256 * min(inputs, outputs) + inputs * outputs), p
            assert math.isclose(p["gb_per_s"], 1e-6 * p["bytes"] / p["ms"]["median"], rel_tol=1e-9)
            if (layer, piece) == ("2", "backward"):
                assert "gflops" not in p, p
                continue
            assert math.isclose(p["gflops"], 2e-6 * 256 * inputs * outputs / p["ms"]["median"], rel_tol=1e-9), p
            assert 0 < p["fma_share_per_core"] <= 1.2, p


def comm(path, ranks, *sizes):
    found = read(path)
    assert found["bench"] == "comm" and found["ranks"] == int(ranks)
    # 532110 parameters in fp32
    assert [g["bytes"] for g in found["gradients"]] == [4 * 532110] + [int(s) for s in sizes]
    assert [c["bytes"] for c in found["cuts"]] == [8, 64, 512, 4096]
    for times in found["gradients"] + found["cuts"]:
        assert is_spread(times["tree_us"]) and is_spread(times["allreduce_us"]) and times["tree_us"]["min"] > 0
        ratio = times["allreduce_us"]["median"] / times["tree_us"]["median"]
        assert math.isclose(times["allreduce_over_tree"], ratio, rel_tol=1e-9)


def scaling(path, ranks):
    found = read(path)
    assert found["bench"] == "scaling" and found["ranks"] == int(ranks)
    # row 6: a cut for each of three BatchNorms forward, and backward for all but the first
    # and weights of dense layers only, whose gradients ranks of one host do not add
    assert found["cuts"] == 5 and 0 <= found["added_bytes"] < 1000, found
    batch, shards = found["batch"], found["shards"]
    assert [p["ranks"] for p in found["predictions"]] == [1, 2, 4, 8, 16]

    def seconds(images, p):
        each = found["cuts"] * found["cut_us_per_rank"] + found["gradient_us_per_rank"]
        moved = 2 * (p - 1) / p * found["added_bytes"] * found["ns_per_byte_moved"]
        return 1e-6 * (found["image_us"] * images * -(-shards // p) / shards + each * (p - 1)) + 1e-9 * moved

    for p in found["predictions"]:
        n, own = p["ranks"], batch / int(ranks)
        assert math.isclose(p["step_ms"], 1e3 * seconds(batch, n), rel_tol=1e-9), p
        assert math.isclose(p["strong_efficiency"], seconds(batch, 1) / (n * seconds(batch, n)), rel_tol=1e-9)
        assert math.isclose(p["weak_efficiency"], seconds(own, 1) / seconds(own * n, n), rel_tol=1e-9)
        assert p["extrapolated"] == (n > int(ranks))
        if n > 1:
            least = p["pays_above_batch"]
            assert math.isclose(seconds(least, n), seconds(least, n // 2), rel_tol=1e-6), p


def trace(path, ranks, threads):
    events = read(path)
    rows = {(e["pid"], e["tid"]) for e in events if e["ph"] == "X"}
    assert rows == {(r, t) for r in range(int(ranks)) for t in range(int(threads))}, rows
    # which threads claim parts of the weight gradients depends on how fast they are
    assert "weight gradient" in {e["cat"] for e in events if e["ph"] == "X"}
    names = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    assert names == {r: f"rank {r}" for r in range(int(ranks))}, names
    for row in rows:
        mine = [e for e in events if e["ph"] == "X" and (e["pid"], e["tid"]) == row]
        assert {"forward", "backward"} <= {e["cat"] for e in mine}
        assert all(e["ts"] >= 0 and e["dur"] >= 0 for e in mine)
        # one after the other, but for the last digit of a microsecond
        assert all(a["ts"] + a["dur"] <= b["ts"] + 0.01 for a, b in zip(mine, mine[1:])), row
        steps = [e["args"]["step"] for e in mine]
        assert steps == sorted(steps) and len(set(steps)) > 1, steps


def losses(path, metrics):
    last = read(metrics)["metrics"]["last_step"]
    assert read(path)["losses"][int(last["step"]) - 1] == last["loss"], (read(path)["losses"], last)


def operations(path, report):
    with open(report) as file:
        total = re.search(r"all, FLOP of one sample +\d+ +\d+ +(\d+)", file.read()).group(1)
    assert read(path)["flop_per_image"] == int(total), total


{"step": step, "layers": layers, "comm": comm, "scaling": scaling, "trace": trace, "losses": losses, "operations": operations}[sys.argv[1]](*sys.argv[2:])
