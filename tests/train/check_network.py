"""What `lockstep inspect CONFIG --json` says of a ResNet, against the same as text and against the shapes of its layers.

    check_network.py JSON TEXT PARAMETERS
"""
import json
import re
import sys

with open(sys.argv[1]) as file:
    found = json.load(file)
with open(sys.argv[2]) as file:
    text = file.read()


def flat(layers):
    for layer in layers:
        yield layer
        for branch in "layers", "body", "shortcut":
            yield from flat(layer.get(branch, []))


every = list(flat(found["layers"]))
assert found["kind"] == "network" and (found["height"], found["width"], found["classes"]) == (28, 28, 10)
assert found["data"] in text and found["path"] in text
assert [layer["name"] for layer in every] == re.findall(r"^ *(\S+) +[a-z0-9_]+ +\d[0-9x]*(?: |$)", text, re.M)
for key in found["all"]:
    assert found["all"][key] == sum(layer[key] for layer in every), key
assert found["all"]["parameters"] == int(sys.argv[3])

# 2 for each product: a weight is used once for every pixel that comes out. Training three times, without the input's gradient twice.
for i, layer in enumerate(every):
    if layer["type"] == "conv2d":
        pixels = layer["output"][0] * layer["output"][1]
        assert layer["forward_flop"] == 2 * pixels * layer["parameters"], layer
        assert layer["training_flop"] == (2 if i == 0 else 3) * layer["forward_flop"], layer
conv = found["layers"][3]["layers"][0]["body"][0]
assert conv == {"name": "layer1.0.conv1", "type": "conv2d", "output": [28, 28, 16], "parameters": 16 * 16 * 9,
                "forward_flop": 2 * 28 * 28 * 16 * 16 * 9, "training_flop": 6 * 28 * 28 * 16 * 16 * 9}, conv

batch, gigas = re.search(r"a training step of (\d+) samples: (\S+) GFLOP", text).groups()
assert found["batch"] == int(batch)
assert f"{1e-9 * found['batch'] * found['all']['training_flop']:.3g}" == gigas
assert f"every rank: {found['image_bytes'] / 2**20:.1f} MiB" in text
kinds = ["state", "gradients", "training", "evaluation", "sum"]
assert [m["ranks"] for m in found["memory"]] == [1, 2, 4, 8, 16]
for m in found["memory"]:
    assert m["sum"] == sum(m[kind] for kind in kinds[:-1])
    row = re.search(rf"^ +{m['ranks']} +([0-9. ]+)$", text, re.M).group(1).split()
    assert row == [f"{m[kind] / 2**20:.1f}" for kind in kinds], (row, m)
