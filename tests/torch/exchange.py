"""Export, import, and checkpoints in PyTorch: what goes out comes in again, and what is wrong is refused.

    exchange.py SOURCE WORK LOCKSTEP MAKE_IDX
"""
import json
import os
import shutil
import struct
import subprocess
import sys

try:
    import h5py
    import numpy
    import torch
    import yaml
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

from network import Network

torch.set_num_threads(1)
SOURCE, WORK, LOCKSTEP, MAKE_IDX = sys.argv[1:5]
DATA = os.path.join(WORK, "data")  # 80 training samples and 100 to test on
FAILURES = []
# With components that do not exist, MPI could not be started.
NO_MPI = {**os.environ, "OMPI_MCA_pml": "none", "OMPI_MCA_btl": "none"}

SMALL = ["comm=self", "progress=none", f"data={DATA}", "batch=20", "split=60", "augment=0"]
CNN = "network=[{conv2d: {channels: 4, pad: 1}}, instance_norm, relu, {max_pool: {kernel: 3, stride: 2, pad: 1}}, " \
      "{conv2d: {channels: 6, kernel: 5, stride: 2}}, batchnorm, tanh, flatten, {dense: {units: 10}}]"
CASES = {
    "mlp": ["table1/row6-published.yaml", "defaults.batchnorm.statistics=exponential",
            "defaults.batchnorm.affine=true"],
    "cumulative": ["table1/row6-published.yaml"],
    "dataset": ["table1/row6-stated.yaml", "precision=fp64"],
    "resnet": ["table2/row1-stated.yaml", "defaults.batchnorm.statistics=exponential"],
    "cnn": ["cnn/network2-stated.yaml", CNN],
}
NOTES = {"cumulative": "note: statistics: cumulative: ", "dataset": "note: statistics: dataset: "}


def check(condition, what):
    if not condition:
        FAILURES.append(what)
        print(f"FAILED: {what}")


def run(*words, code=0, texts=(), env=None):
    """Runs lockstep; checks its exit code and that it says each text. Returns its output."""
    done = subprocess.run([LOCKSTEP, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    said = done.stdout + done.stderr
    command = " ".join(words)
    check(done.returncode == code, f"{command}: exit code {done.returncode}, expected {code}: {said[-600:]}")
    for text in texts:
        check(text in said, f"{command}: does not say '{text}': {said[-600:]}")
    return done.stdout


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


def state_dict_of(path):
    """The three lines of io/checkpoint.h."""
    with h5py.File(path) as file:
        state = {name: torch.as_tensor(data[()]) for name, data in file["model"].items()}
    return state


def save(path, state, group=""):
    with h5py.File(path, "w") as file:
        f = file.create_group(group) if group else file
        for k, v in state.items():
            f[k] = v.numpy()


def read_safetensors(path):
    content = content_of(path)
    length, = struct.unpack_from("<Q", content)
    header, values = json.loads(content[8:8 + length]), content[8 + length:]
    metadata = header.pop("__metadata__")
    texts = all(isinstance(value, str) for value in metadata.values())
    check(metadata["format"] == "pt" and texts, f"{path}: {metadata}")
    check((8 + length) % 8 == 0 and content[8:9] == b"{", f"{path}: header of {length} bytes")
    ends = sorted(entry["data_offsets"] for entry in header.values())
    check(ends[0][0] == 0 and ends[-1][1] == len(values), f"{path}: data of {len(values)} bytes, {ends[-1]}")
    check(all(a[1] == b[0] for a, b in zip(ends, ends[1:])), f"{path}: holes between the tensors")
    types = {"F32": "<f4", "F64": "<f8", "I64": "<i8"}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        kind = numpy.dtype(types[entry["dtype"]])
        check(begin % kind.itemsize == 0, f"{path}: {name} is not aligned")
        tensors[name] = numpy.frombuffer(values[begin:end], kind).reshape(entry["shape"])
    return tensors


def same(a, b):
    """Names, types, shapes and bits."""
    a, b = ({k: numpy.asarray(v) for k, v in x.items()} for x in (a, b))
    return list(a) == list(b) and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a)


def test_set():
    def idx(name, offset, kind):
        return numpy.frombuffer(content_of(os.path.join(DATA, name)), numpy.uint8, offset=offset).astype(kind)
    labels = idx("t10k-labels-idx1-ubyte", 8, "i8")
    return idx("t10k-images-idx3-ubyte", 16, "f8").reshape(len(labels), 1, 28, 28), labels


def eval_line(checkpoint):
    lines = [line for line in run("eval", checkpoint, f"data={DATA}").splitlines() if line.startswith("test")]
    words = lines[0].split()
    return float(words[words.index("loss") + 1]), float(words[words.index("accuracy") + 1])


def torch_eval(checkpoint):
    with h5py.File(checkpoint) as file:
        config = yaml.safe_load(file["config/yaml"][()].decode())
    m = Network(config, 28, 28)
    m.load_state_dict(state_dict_of(checkpoint), strict=True)
    images, labels = test_set()
    with torch.no_grad():
        logits = m.eval()(torch.from_numpy(images) / (255 if config["pixels"] == "unit" else 1))
    labels = torch.from_numpy(labels)
    likelihoods = logits.softmax(dim=1)[torch.arange(len(labels)), labels].clamp(min=config["loss_clip"])
    return -likelihoods.log().mean().item(), (logits.argmax(dim=1) == labels).double().mean().item()


def close(a, b):
    a_sample = 0.0101  # of 100, which may stand on the edge
    return abs(a[0] - b[0]) <= 1e-5 * max(1, a[0]) and abs(a[1] - b[1]) <= a_sample


def round_trip(name, config, overrides):
    config = os.path.join(SOURCE, "experiments", config)
    overrides = SMALL + overrides
    run("train", config, *overrides, "epochs=9", "steps=7", f"output={name}")
    checkpoint = f"{name}/checkpoint-7.h5"
    state = state_dict_of(checkpoint)
    ours, theirs = eval_line(checkpoint), torch_eval(checkpoint)
    check(close(ours, theirs), f"{name}: eval: lockstep {ours}, torch {theirs}")

    run("export", checkpoint, f"{name}.safetensors", texts=["tensors of step 7"], env=NO_MPI)
    check(same(read_safetensors(f"{name}.safetensors"), state), f"{name}: safetensors")
    run("export", "--format", "safetensors", checkpoint, f"{name}.again")
    check(content_of(f"{name}.safetensors") == content_of(f"{name}.again"), f"{name}: two exports differ")

    save(f"{name}.state.h5", state)
    save(f"{name}.group.h5", state, "model")
    os.mkdir(f"{name}.folder")
    run("import", config, f"{name}.state.h5", f"{name}.h5", *overrides, texts=[NOTES.get(name, "")], env=NO_MPI)
    run("import", config, f"{name}.group.h5", f"{name}.folder", *overrides)
    run("import", config, checkpoint, f"{name}.third.h5", *overrides)
    content = content_of(f"{name}.h5")
    for other in f"{name}.folder/checkpoint-0.h5", f"{name}.third.h5":
        check(content == content_of(other), f"{name}: {other} is another file than {name}.h5")
    back = state_dict_of(f"{name}.h5")
    check(list(back) == list(state), f"{name}: names after import")
    if name not in NOTES:
        check(same(back, state), f"{name}: state after import")
    for key in state:  # mean and variance come out of sums
        check(torch.allclose(back[key].double(), state[key].double(), rtol=1e-6, atol=1e-9) or
              key.endswith("num_batches_tracked"), f"{name}: {key} after import")
    run("inspect", f"{name}.h5", texts=["which matches the tensors"])
    again = eval_line(f"{name}.h5")
    check(close(ours, again), f"{name}: eval after import: {again}, before {ours}")
    run("train", config, *overrides, "steps=2", f"output={name}.on", f"resume={name}.h5")
    run("inspect", f"{name}.on/checkpoint-2.h5", texts=["which matches the tensors"])


def refused(what, make, texts, code=78, config=None, output="refused.h5"):
    """The state of the cnn, changed by make(file, state), must be refused with this code and texts."""
    state = {k: v.numpy() for k, v in state_dict_of("cnn.h5").items()}
    with h5py.File("bad.h5", "w") as file:
        make(file, state)
        for k, v in state.items():
            if k not in file:
                file[k] = v
    config = config or [os.path.join(SOURCE, "experiments", CASES["cnn"][0]), CNN]
    print(what)
    run("import", config[0], "bad.h5", output, *SMALL, *config[1:], code=code, texts=texts)
    check(not os.path.exists("refused.h5"), f"{what}: something was written")


def rename(state, old, new):
    state[new] = state.pop(old)


def put(name, **how):
    """Stores a tensor in another way: as a data set with these arguments of h5py."""
    def make(file, state):
        file.create_dataset(name, data=state.pop(name), **how)
    return make


def replaced(name, change):
    def make(file, state):
        state[name] = change(state[name])
    return make


def soft_link(file, state):
    file["elsewhere"] = state.pop("0.weight")
    file["0.weight"] = h5py.SoftLink("/elsewhere")


def external_link(file, state):
    file["0.weight"] = h5py.ExternalLink("cnn.h5", "/model/0.weight")
    state.pop("0.weight")


def virtual(file, state):
    shape = state.pop("0.weight").shape
    layout = h5py.VirtualLayout(shape=shape, dtype="<f4")
    layout[...] = h5py.VirtualSource("cnn.h5", "model/0.weight", shape=shape)
    file.create_virtual_dataset("0.weight", layout)


def external_storage(file, state):
    weight = state.pop("0.weight")
    file.create_dataset("0.weight", weight.shape, "<f4", external=[("cnn.h5", 0, weight.nbytes)])


def unwritten(file, state):
    file.create_dataset("0.weight", state.pop("0.weight").shape, "<f4", chunks=True)


def many_links(file, state):
    for i in range(70000):
        file[f"x{i}"] = h5py.SoftLink("/nowhere")


def two_and_more(file, state):
    rename(state, "0.weight", "zero.weight")
    rename(state, "0.bias", "zero\x1b[31m.bias")
    state["5.running_var"] = state["5.running_var"][:-1]
    state["8.bias"] = state["8.bias"].astype("<f8")


def bad_states():
    cnn = os.path.join(SOURCE, "experiments", CASES["cnn"][0])
    refused("missing", lambda f, s: s.pop("5.running_mean"),
            ["1 tensor does not fit", "missing 5.running_mean, f32 [6]"])
    refused("unexpected", lambda f, s: f.create_group("9"), ["unexpected 9"])
    refused("several", two_and_more,
            ["5 tensors do not fit", "missing 0.weight, f32 [4, 1, 3, 3]", "unexpected zero.weight",
             "unexpected zero?[31m.bias", "5.running_var: found f32 [5], expected f32 [6]",
             ])
    refused("transposed", replaced("8.weight", lambda v: v.T.copy()),
            ["8.weight: found f32 [216, 10], expected f32 [10, 216]"])
    refused("a count with a point", replaced("5.num_batches_tracked", lambda v: v.astype("<f4")),
            ["5.num_batches_tracked: found f32 scalar, expected i64 scalar"])
    refused("weights without one", replaced("0.bias", lambda v: v.astype("<i4")),
            ["0.bias: found integer [4], expected f32 [4]"])
    refused("truth", replaced("0.bias", lambda v: v > 0), ["0.bias: found enum [4], expected f32 [4]"])
    refused("too large for f32", replaced("0.bias", lambda v: v.astype("<f8") + 1e39),
            ["0.bias: found a value that is not finite"])
    refused("twice", lambda f, s: s.update({"module.0.bias": s["0.bias"]}), ["0.bias is there twice, as module.0.bias too"])
    refused("another wrapper", lambda f, s: rename(s, "0.bias", "modul.0.bias"), ["unexpected modul.0.bias", "missing 0.bias"])
    refused("text", replaced("0.bias", lambda v: "weights"),
            ["0.bias: found string scalar, expected f32 [4]"])
    refused("group", lambda f, s: (s.pop("0.bias"), f.create_group("0.bias")),
            ["0.bias: found another kind of object"])
    refused("not a number", replaced("0.bias", lambda v: v * numpy.float32("nan")),
            ["0.bias: found a value that is not finite"])
    refused("negative variance", replaced("5.running_var", lambda v: -v),
            ["5.running_var: found a value that is negative"])
    refused("negative count", replaced("5.num_batches_tracked", lambda v: -v),
            ["5.num_batches_tracked: found -7 batches"])
    refused("compressed by h5py's own filter", put("8.weight", compression="lzf"),
            ["8.weight: found filter 32000, expected none but gzip (1), shuffle (2) and Fletcher32 (3)"])
    refused("rounded", put("8.weight", scaleoffset=3), ["8.weight: found filter 6"])
    refused("chunks of 1 GiB", lambda f, s: f.create_dataset("8.weight", s.pop("8.weight").shape, "<f4",
            compression="gzip", chunks=(1 << 14, 1 << 14), maxshape=(None, None)),
            ["8.weight: found chunks larger than the array"])
    refused("unwritten, compressed", lambda f, s: f.create_dataset("8.weight", s.pop("8.weight").shape, "<f4",
            compression="gzip"), ["8.weight: found 0 chunks stored, expected"])
    refused("soft link", soft_link, ["0.weight: found a soft or external link"])
    refused("external link", external_link, ["0.weight: found a soft or external link"])
    refused("virtual", virtual, ["0.weight: found layout 3"])
    refused("external storage", external_storage, ["0.weight: found data in external files"])
    refused("unwritten", unwritten, ["0.weight: found"])
    refused("links", many_links, ["links in a group, expected at most 65536"])
    refused("model is no group", lambda f, s: f.create_dataset("model", data=1),
            ["model: found another kind of object"])
    refused("output is there", lambda f, s: None, ["is there already"], code=73, output="cnn.h5")
    refused("no folder", lambda f, s: None, ["nowhere/a.h5"], code=74, output="nowhere/a.h5")
    refused("no configuration", lambda f, s: None, ["none.yaml"], code=2, config=["none.yaml"])
    refused("bad configuration", lambda f, s: None, ["the last layer gives 9"], code=2,
            config=[cnn, "network=[flatten, {dense: {units: 9}}]"])
    refused("another network", lambda f, s: None,
            ["missing layer3.1.conv2.weight, f32 [64, 64, 3, 3]", "unexpected 0.weight"],
            config=[os.path.join(SOURCE, "experiments", CASES["resnet"][0])])


def wrapped(state, prefix):
    return {prefix + k: v for k, v in state.items()}


def other_states():
    """What is stored in another way comes in as PyTorch itself converts it, with a line that says so."""
    cnn = os.path.join(SOURCE, "experiments", CASES["cnn"][0])
    state = {k: v.numpy() for k, v in state_dict_of("cnn.h5").items()}
    floats = sum(v.dtype.kind == "f" for v in state.values())

    def stored(kind, counts="<i8"):
        return {k: v.astype(kind if v.dtype.kind == "f" else counts) for k, v in state.items()}

    def taken(name, tensors, note, overrides=(), how=None, group=""):
        with h5py.File("other.h5", "w") as file:
            for k, v in tensors.items():
                file.create_dataset(f"{group}/{k}", data=v, **((how or {}) if v.ndim else {}))
        print(name)
        said = run("import", cnn, "other.h5", "other-out.h5", *SMALL, CNN, *overrides, "--force", texts=[note])
        check(said.count("note: ") == 1, f"{name}: {said}")
        kind = "<f8" if overrides else "<f4"
        want = {k: torch.as_tensor(v.astype(v.dtype.newbyteorder("="))) for k, v in
                zip(state, tensors.values())}
        want = {k: v.to(torch.float64 if overrides else torch.float32).numpy() if v.is_floating_point() else
                v.to(torch.int64).numpy() for k, v in want.items()}
        check(want["0.bias"].dtype == numpy.dtype(kind) and same(state_dict_of("other-out.h5"), want), f"{name}: values")

    some = f"0.weight and {floats - 1} more: found"
    taken("f64", stored("<f8"), f"note: {some} f64, converted to f32")
    taken("f16", stored("<f2"), f"note: {some} f16, converted to f32")
    taken("big-endian", stored(">f4"), f"note: {some} f32 big-endian, converted to f32")
    taken("big-endian f64", stored(">f8"), f"note: {some} f64 big-endian, converted to f32")
    taken("big-endian f16", stored(">f2"), f"note: {some} f16 big-endian, converted to f32")
    taken("counts of 32 bits", stored("<f4", "<i4"), "note: 5.num_batches_tracked: found i32, converted to i64")
    taken("big-endian counts", stored("<f4", ">i2"), "note: 5.num_batches_tracked: found i16 big-endian, converted to i64")
    taken("f32 for fp64", stored("<f4"), f"note: {some} f32, converted to f64", ["precision=fp64"])
    taken("gzip", stored("<f4"), f"note: {some} f32, gzip, converted to f32", how={"compression": "gzip"})
    taken("gzip of zeros", {k: v * 0 for k, v in stored("<f4").items()}, f"note: {some} f32, gzip, converted to f32",
          how={"compression": "gzip", "compression_opts": 9, "shuffle": True})
    taken("gzip, shuffled, summed, f64", stored("<f8"), f"note: {some} f64, gzip, converted to f32", group="model",
          how={"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": True})
    for prefix in "module.", "_orig_mod.", "module._orig_mod.", "module.module.":
        taken(prefix, wrapped(state, prefix), f"note: {prefix}0.bias and {len(state) - 1} more: taken without")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    save("parallel.h5", {f"module.{k}": v for k, v in model.state_dict().items()})
    run("import", cnn, "parallel.h5", "parallel-out.h5", *SMALL, "network=[flatten, {dense: {units: 10}}]",
        texts=["note: module.1.bias and 1 more: taken without"])
    check(same(state_dict_of("parallel-out.h5"), model.state_dict()), "a wrapped model of PyTorch's")


def bad_files():
    config = os.path.join(SOURCE, "experiments", CASES["cnn"][0])
    content = content_of("cnn.state.h5")
    contents = {"empty": b"", "short": content[:len(content) // 2], "text": b"weights\n" * 99, "head": content[:9]}
    for name, data in contents.items():
        with open(f"{name}.h5", "wb") as file:
            file.write(data)
    for name in "empty.h5", "short.h5", "text.h5", "head.h5", "none.h5", ".", "/dev/null":
        run("import", config, name, "refused.h5", *SMALL, CNN, code=78, texts=[name])
    check(not os.path.exists("refused.h5"), "a bad file: something was written")
    # Whatever a byte is changed to: refused, or read; never a crash.
    for i in range(0, min(len(content), 4096), 97):
        with open("flipped.h5", "wb") as file:
            file.write(content[:i] + bytes([content[i] ^ 0xff]) + content[i + 1:])
        done = subprocess.run([LOCKSTEP, "import", config, "flipped.h5", "flipped-out.h5", *SMALL, CNN],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = f"exit code {done.returncode}: {done.stderr[-300:]}"
        check(done.returncode in (0, 78), f"byte {i} changed: {said}")
        if os.path.exists("flipped-out.h5"):
            os.remove("flipped-out.h5")


def bad_exports():
    good = "cnn/checkpoint-7.h5"
    run("export", good, code=2, texts=["expected lockstep export CHECKPOINT FILE"])
    run("export", good, "a", "--format", "onnx", code=2, texts=["found the format onnx; expected safetensors"])
    run("export", good, good, code=2, texts=["is what is read"])
    run("export", good, "cnn", code=74, texts=["not a regular file"])
    run("export", good, "/dev/full", code=74, texts=["not a regular file"])
    for there in "cnn/config.yaml", "cnn/metrics.h5", "cnn.h5", "cnn.safetensors":
        before = content_of(there)
        run("export", good, there, code=73, texts=[f"{there}: is there already"])
        check(content_of(there) == before, f"export: {there} was replaced")
    run("export", good, good, "--force", code=2, texts=["is what is read"])
    with open("forced", "w") as file:
        file.write("of no further use")
    run("export", good, "forced", "--force")
    check(content_of("forced") == content_of("cnn.safetensors"), "export --force")
    cnn = os.path.join(SOURCE, "experiments", CASES["cnn"][0])
    run("import", cnn, "cnn.state.h5", "cnn.state.h5", *SMALL, CNN, "--force", code=2, texts=["is what is read"])
    run("import", cnn, "cnn.state.h5", "forced", *SMALL, CNN, "--force")
    check(content_of("forced") == content_of("cnn.h5"), "import --force")
    run("export", good, "nowhere/a", code=74, texts=["nowhere/a"])
    run("export", "none.h5", "a", code=78, texts=["none.h5"])
    run("export", "cnn.state.h5", "a", code=78, texts=["cnn.state.h5"])
    run("import", good, code=2, texts=["expected lockstep import CONFIG STATE.h5"])
    check(not os.path.exists("a"), "a bad export: something was written")
    check(state_dict_of(good), "a bad export: the checkpoint is gone")


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(DATA)
    os.chdir(WORK)
    subprocess.run([MAKE_IDX, DATA, "80", "100"], check=True, stdout=subprocess.DEVNULL)
    for name, (config, *overrides) in CASES.items():
        print(name)
        round_trip(name, config, overrides)
        sys.stdout.flush()
    bad_states()
    other_states()
    bad_files()
    bad_exports()
    print("all as expected" if not FAILURES else f"{len(FAILURES)} failures")
    sys.exit(1 if FAILURES else 0)


main()
