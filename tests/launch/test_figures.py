"""report.py and figures.py on files written here in the layouts of metrics.h, checkpoint.h and eval.h, and on a run of
the program: test_figures.py EXPERIMENTS FOLDER [BINARY DATA]"""

import contextlib
import io
import shutil
import subprocess
import sys
from pathlib import Path

try:
    import h5py
    import matplotlib  # noqa: F401
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

EXPERIMENTS, FOLDER = Path(sys.argv[1]), Path(sys.argv[2])


def write_run(name, epochs, data_set="MNIST", validation=True, test=None, offset=0.0):
    """A history that looks like row 6: the losses fall, the accuracies rise."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    epoch = np.arange(1, epochs + 1)
    nothing = np.full(epochs, np.nan)
    wave = 0.004 * np.sin(1.7 * epoch)
    columns = {
        "epoch": epoch.astype(np.uint64),
        "train_loss": 0.13 + 0.45 * np.exp(-epoch / 5) + offset,
        "train_accuracy": 0.959 - 0.13 * np.exp(-epoch / 5),
        "validation_loss": 0.09 + 0.12 * np.exp(-epoch / 5) + wave if validation else nothing,
        "validation_accuracy": 0.973 - 0.04 * np.exp(-epoch / 5) - wave / 3 if validation else nothing,
        "learning_rate": 0.05 / epoch**0.2,
    }
    with h5py.File(folder / "metrics.h5", "w") as file:
        for column, values in columns.items():
            file[f"epoch/{column}"] = values
        file.create_group("test").attrs.update({} if test is None else {"loss": 0.08, "accuracy": test})
        file["provenance/config"] = np.bytes_("experiments/table1/row6-published.yaml")
        file["provenance/data_set"] = np.bytes_(data_set)
        file["provenance/seconds"] = np.full(epochs, 2.0)
    return folder


MLP = """pixels: bytes
split: 1000
batch: 64
network:
  - flatten: {name: ""}
  - batchnorm: {eps: 1.0e-08, affine: false, statistics: cumulative, momentum: 0.1, name: ""}
  - dense: {units: 12, bias: true, init: xavier, name: ""}
"""
CNN = """pixels: unit
network:
  - conv2d: {channels: 7, kernel: 3, stride: 2, pad: 1, bias: true, init: kaiming, name: conv}
  - batchnorm: {eps: 0.5, affine: true, statistics: cumulative, momentum: 0.1, name: ""}
  - relu: {name: ""}
  - sequential:
      layers:
        - conv2d: {channels: 1, kernel: 3, stride: 1, pad: 1, bias: true, init: kaiming, name: ""}
"""
RANDOM = np.random.default_rng(7)


def write_steps(folder, config, steps):
    with h5py.File(folder / "metrics.h5", "a") as file:
        step = np.arange(1, steps + 1)
        noise = 0.05 * RANDOM.standard_normal(steps)
        file["step/step"] = step.astype(np.uint64)
        file["step/loss"] = 0.2 + 2 * np.exp(-step / 80) + np.abs(noise)
        file["step/accuracy"] = np.clip(0.95 - 0.8 * np.exp(-step / 80) + noise, 0, 1)
        file["config/yaml"] = np.bytes_(config)


def write_checkpoint(folder, step, config, tensors, height=14, width=11):
    with h5py.File(folder / f"checkpoint-{step}.h5", "w") as file:
        file.create_group("progress").attrs.update({"height": np.uint64(height), "width": np.uint64(width)})
        file["config/yaml"] = np.bytes_(config)
        for name, values in tensors.items():
            file[f"model/{name}"] = np.asarray(values, np.float32)


def random(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def write_evaluation(folder, classes=4, samples=200, mistaken=6):
    label = RANDOM.integers(classes, size=samples)
    predicted = np.where(np.arange(samples) < mistaken, (label + 1) % classes, label)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (label, predicted), 1)
    with h5py.File(folder / "eval.h5", "w") as file:
        test = file.create_group("test")
        accuracy = 1 - mistaken / samples
        test.attrs.update({"samples": np.uint64(samples), "loss": 0.1, "accuracy": accuracy, "uncertainty": 0.01})
        test["confusion"] = confusion
        worst = slice(0, mistaken)
        for name, values in (("sample", np.arange(samples)), ("class", label), ("predicted", predicted),
                             ("probability", np.full(samples, 0.9)), ("loss", np.full(samples, 2.5))):
            test[name], test[f"worst/{name}"] = values, values[worst]
        test["worst/image"] = np.abs(random(mistaken, 14, 11)).clip(0, 1)


def write_attack(folder, epsilons, count=3):
    epsilon = np.array(epsilons)
    with h5py.File(folder / "attack.h5", "w") as file:
        file["curve/epsilon"], file["curve/loss"], file["curve/accuracy"] = epsilon, 1 + epsilon, np.exp(-9 * epsilon)
        file["curve"].attrs["samples"] = np.uint64(500)
        shapes = {"sample": (count,), "class": (count,), "predicted": (len(epsilon), count)}
        for name, shape in shapes.items():
            file[f"examples/{name}"] = RANDOM.integers(4, size=shape)
        file["examples/original"] = RANDOM.random((count, 14, 11))
        file["examples/perturbation"] = np.sign(random(count, 14, 11))
        file["examples/adversarial"] = RANDOM.random((len(epsilon), count, 14, 11))
        file["examples/probability"] = RANDOM.random((len(epsilon), count))


def run(script, *arguments, code=0):
    done = subprocess.run([sys.executable, "-E", "-s", "-B", EXPERIMENTS / script, *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    assert done.returncode == code, f"{script} {arguments}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


def draw(*arguments, code=0):
    """As run() of figures.py, in this process: most of such a run is imports."""
    sys.path.insert(0, str(EXPERIMENTS))
    sys.dont_write_bytecode = True
    import figures
    said, status = io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            figures.main([str(word) for word in arguments])
        except SystemExit as end:  # a text is printed by the interpreter, and the code is 1
            status = end.code if isinstance(end.code, int) else 1
            if status == 1:
                print(end.code)
    assert status == code, f"figures.py {arguments}: exit {status}\n{said.getvalue()}"
    return said.getvalue()


def expect(text, *parts, without=()):
    for part in parts:
        assert part in text, f"expected {part!r} in:\n{text}"
    for part in without:
        assert part not in text, f"did not expect {part!r} in:\n{text}"


def check_picture(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) > 10_000, f"{path}: {len(data)} bytes"


def test_report():
    whole = write_run("mnist", 30, test=0.9786)
    expect(run("report.py", whole), "Table 1, row 6, as published: MNIST, 30 epochs", "paper", "0.132", "0.979",
           without=("The paper",))
    short = write_run("short", 2)
    expect(run("report.py", short), "2 epochs", "0.091", "The paper trains for 30 epochs.")
    other = write_run("fashion", 3, data_set="Fashion-MNIST")
    expect(run("report.py", other), "Fashion-MNIST", "measured", without=("paper ", "0.091", "test"))
    seeds = [write_run(f"seed{seed}", 30, offset=0.01 * seed) for seed in range(3)]
    expect(run("report.py", *seeds), "3 runs", "0.141 ± 0.010")
    expect(run("report.py", whole, short, code=1), "differ")
    expect(run("report.py", FOLDER / "nowhere", code=1), "nowhere/metrics.h5", without=("Traceback",))


def test_history():
    run("figures.py", "history", write_run("mnist", 30, test=0.9786))
    check_picture(FOLDER / "mnist/history.png")
    shapes = {"one": dict(epochs=1), "all": dict(epochs=30, validation=False), "long": dict(epochs=120)}
    for name, how in shapes.items():
        run("figures.py", write_run(name, **how), "-o", FOLDER / f"{name}.png")
        check_picture(FOLDER / f"{name}.png")


def expect_pictures(folder, *names):
    found = {path.stem for path in folder.glob("*.png")}
    assert found == set(names), f"{folder}: {sorted(found)}, expected {sorted(names)}"
    for name in names:
        check_picture(folder / f"{name}.png")


def test_mlp():
    folder = write_run("mlp", 6)
    write_steps(folder, MLP, 96)
    expect(run("figures.py", "weights", folder, code=1), "no checkpoint in", without=("Traceback",))
    write_checkpoint(folder, 9, MLP, {"2.weight": random(12, 7)})
    write_checkpoint(folder, 96, MLP, {"2.weight": random(12, 14 * 11), "1.running_mean": random(154)})
    expect(run("figures.py", "all", folder), "no kernels: the first layer (2.weight) is dense", "no confusion: no eval.h5",
           "no attack: no attack.h5: lockstep attack", "checkpoint-96.h5")
    expect_pictures(folder, "history", "iterations", "weights")
    expect(run("figures.py", "weights", folder, "--checkpoint", folder / "checkpoint-9.h5", code=1),
           "2.weight does not read images of 14 x 11")
    write_evaluation(folder)
    write_attack(folder, [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    run("figures.py", "all", folder, "-o", pictures)
    expect_pictures(pictures, "history", "iterations", "weights", "confusion", "mistakes", "attack")
    expect(run("figures.py", "activations", folder, code=1), "the first layer is no convolution", without=("Traceback",))


def test_odd_results():
    folder = write_run("odd", 1)
    write_evaluation(folder, mistaken=0)
    write_attack(folder, [0.0], count=1)
    expect(run("figures.py", "all", folder), "no mistakes: no test sample is mistaken", "no iterations: ")
    expect_pictures(folder, "history", "confusion", "attack")
    write_attack(folder, [0.05, 0.1], count=0)
    run("figures.py", "attack", folder)
    check_picture(folder / "attack.png")
    empty = write_run("empty", 0)
    expect(run("figures.py", "history", empty, code=1), "no epoch came to its end", without=("Traceback",))


def test_outputs():
    """Folders are made, what is there is kept, and what cannot be is one line."""
    folder = write_run("outputs", 3)
    draw("history", folder, "-o", FOLDER / "new/deep/history.png")
    check_picture(FOLDER / "new/deep/history.png")
    draw("all", folder, "-o", FOLDER / "new/deeper/still")
    check_picture(FOLDER / "new/deeper/still/history.png")
    draw("history", folder)
    draw("history", folder)  # the default place is its own
    draw("history", folder, "-o", FOLDER / "new/history.pdf")
    assert (FOLDER / "new/history.pdf").read_bytes().startswith(b"%PDF")
    diary = FOLDER / "diary.png"
    diary.write_text("dear diary")
    expect(draw("history", folder, "-o", diary, code=73), "diary.png: is there already", "--force")
    expect(draw("all", folder, "-o", FOLDER / "new/deep", code=73), "new/deep/history.png: is there already")
    assert diary.read_text() == "dear diary"
    draw("history", folder, "-o", diary, "--force")
    check_picture(diary)
    for name, found in (("picture.xyz", "the suffix .xyz"), ("picture", "no suffix")):
        said = draw("history", folder, "-o", FOLDER / name, code=2)
        expect(said, f"{name}: found {found}, expected one of", ".pdf", ".png", without=("Traceback",))
        assert said.count("\n") == 1, said
    said = draw("history", folder, "-o", FOLDER / "diary.png/history.png", code=1)
    expect(said, "diary.png", without=("Traceback",))


def test_python_without_modules():
    for script, module in (("figures.py", "matplotlib"), ("figures.py", "h5py"), ("report.py", "h5py"), ("report.py", "numpy")):
        code = (f"import sys, runpy; sys.modules[{module!r}] = None; sys.path.insert(0, {str(EXPERIMENTS)!r}); "
                f"sys.argv = ['x', 'y']; runpy.run_path({str(EXPERIMENTS / script)!r}, run_name='__main__')")
        done = subprocess.run([sys.executable, "-E", "-s", "-B", "-c", code], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, encoding="utf-8")
        assert done.returncode == 1 and done.stdout.count("\n") == 1, done.stdout
        expect(done.stdout, script, module, sys.executable, "python3-h5py")


def test_cut_off():
    """200 batches: the first far above the others, the last not a number."""
    folder = write_run("cut", 2)
    with h5py.File(folder / "metrics.h5", "a") as file:
        loss = np.ones(200)
        loss[0], loss[-1] = 50, np.nan
        file["step/step"], file["step/loss"] = np.arange(1, 201, dtype=np.uint64), loss
        file["step/accuracy"] = np.where(np.arange(200) == 3, 0.03, 0.9)
        file["config/yaml"] = np.bytes_(MLP)
    draw("iterations", folder)
    check_picture(folder / "iterations.png")
    import draw_history
    import runs
    titles = [axes.get_title(loc="right") for axes in draw_history.iterations(runs.Run(folder)).axes]
    assert titles == ["values not shown: 1 above, up to 50; 1 not finite", "values not shown: 1 below, down to 0.03"], titles
    with h5py.File(folder / "metrics.h5", "a") as file:
        file["step/loss"][...] = np.nan
        file["epoch/validation_loss"][...] = np.nan
    draw("iterations", folder)  # all that a run which diverged at once has
    titles = [axes.get_title(loc="right") for axes in draw_history.iterations(runs.Run(folder)).axes]
    assert titles[0] == "values not shown: 200 not finite", titles
    whole = write_run("uncut", 2)
    write_steps(whole, MLP, 10)
    assert "not shown" not in draw_history.history(runs.Run(whole)).axes[0].get_title(loc="right")


def plain_convolution(image, weight, bias, stride, pad):
    padded = np.pad(image, pad)
    height = (padded.shape[0] - weight.shape[2]) // stride + 1
    width = (padded.shape[1] - weight.shape[3]) // stride + 1
    out = np.zeros((len(weight), height, width))
    for k, y, x in np.ndindex(out.shape):
        patch = padded[y * stride:y * stride + weight.shape[2], x * stride:x * stride + weight.shape[3]]
        out[k, y, x] = bias[k] + (patch * weight[k, 0]).sum()
    return out


def test_cnn():
    folder = write_run("cnn", 2)
    write_steps(folder, CNN, 10)
    tensors = {"conv.weight": random(7, 1, 3, 3), "conv.bias": random(7), "1.weight": random(7), "1.bias": random(7),
               "1.running_mean": random(7), "1.running_var": np.abs(random(7)), "3.0.weight": random(1, 7, 3, 3)}
    write_checkpoint(folder, 10, CNN, tensors)
    expect(run("figures.py", "activations", folder, code=1), "no image: lockstep attack")
    write_attack(folder, [0, 0.1])
    expect(run("figures.py", "all", folder), "no weights: the first layer (conv.weight) is a convolution")
    expect_pictures(folder, "history", "iterations", "kernels", "activations", "attack")
    sys.path.insert(0, str(EXPERIMENTS))
    sys.dont_write_bytecode = True
    import draw_network
    import runs
    one = runs.Run(folder)
    image, _ = one.sample_image()
    maps, applied = draw_network.first_maps(one, image)
    assert applied == ["convolution", "BatchNorm", "ReLU"], applied
    column = (slice(None), None, None)
    want = plain_convolution(image, tensors["conv.weight"], tensors["conv.bias"], 2, 1)
    want = (want - tensors["1.running_mean"][column]) / np.sqrt(tensors["1.running_var"][column] + 0.5)
    want = np.maximum(want * tensors["1.weight"][column] + tensors["1.bias"][column], 0)
    assert maps.shape == (7, 7, 6) and np.allclose(maps, want, atol=1e-5), abs(maps - want).max()


# Names given to layers stand in the names of tensors instead of places.
NESTED = """pixels: unit
network:
  - sequential:
      layers:
        - sequential:
            layers:
              - conv2d: {channels: 3, kernel: 3, stride: 1, pad: 1, bias: true, init: kaiming, name: ""}
              - tanh: {name: ""}
            name: ""
        - max_pool: {kernel: 2, stride: -1, pad: 0, ties: first, name: ""}
      name: stem
  - residual:
      body:
        - conv2d: {channels: 3, kernel: 3, stride: 1, pad: 1, bias: false, init: kaiming, name: ""}
      shortcut: []
      name: ""
"""
RESIDUAL = """network:
  - relu: {name: ""}
  - residual:
      body:
        - conv2d: {channels: 3, kernel: 3, stride: 1, pad: 1, bias: false, init: kaiming, name: ""}
      shortcut:
        - conv2d: {channels: 3, kernel: 1, stride: 1, pad: 0, bias: false, init: kaiming, name: short}
      name: block
"""


def test_nested():
    folder = write_run("nested", 2)
    write_steps(folder, NESTED, 10)
    write_checkpoint(folder, 10, NESTED, {"stem.0.0.weight": random(3, 1, 3, 3), "stem.0.0.bias": random(3)})
    write_attack(folder, [0, 0.1])
    run("figures.py", "all", folder)
    expect_pictures(folder, "history", "iterations", "kernels", "activations", "attack")
    import draw_network
    import runs
    one = runs.Run(folder)
    assert [(layer.type, layer.name) for layer in one.layers()] == [
        ("conv2d", "stem.0.0"), ("tanh", "stem.0.1"), ("max_pool", "stem.1"), ("residual", "1")], one.layers()
    assert draw_network.first_maps(one, one.sample_image()[0])[1] == ["convolution", "tanh"]
    block = write_run("block", 1)
    write_steps(block, RESIDUAL, 10)
    write_checkpoint(block, 10, RESIDUAL, {"block.body.0.weight": random(3, 1, 3, 3)})
    run("figures.py", "kernels", block)
    check_picture(block / "kernels.png")
    assert runs.Run(block).first_weight()[0] == "block.body.0.weight"
    names = {key: [layer.name for layer in inner] for key, inner in runs.Run(block).layers()[1].lists.items()}
    assert names == {"body": ["block.body.0"], "shortcut": ["block.short"]}, names


def test_real_run(binary, data):
    """All figures of a small network, from the program's own files."""
    folder, config = FOLDER / "real", FOLDER / "real.yaml"
    FOLDER.mkdir(parents=True, exist_ok=True)
    config.write_text("split: 1700\nepochs: 2\ntest_interval: 1\nbatch: 64\noptimizer: momentum\nlr: 0.02\nnetwork:\n"
                      "  - conv2d: {channels: 6}\n  - instance_norm\n  - relu\n  - max_pool: {kernel: 2}\n  - flatten\n"
                      "  - dense: {units: 10}\n")
    subprocess.run([binary, "train", config, f"data={data}", f"output={folder}", "overwrite=true", "progress=none"],
                   check=True, stdout=subprocess.DEVNULL)
    [checkpoint] = folder.glob("checkpoint-*.h5")
    for verb in ("eval", "attack"):
        subprocess.run([binary, verb, checkpoint, f"data={data}", "--output", folder / f"{verb}.h5"], check=True,
                       stdout=subprocess.DEVNULL)
    run("figures.py", "all", folder)
    expect_pictures(folder, "history", "iterations", "kernels", "activations", "confusion", "mistakes", "attack")
    with h5py.File(folder / "eval.h5") as file, h5py.File(folder / "attack.h5") as other:
        for part, samples in (("validation", 300), ("test", 500)):
            group = file[part]
            confusion = np.zeros((10, 10), np.int64)
            np.add.at(confusion, (group["class"][()], group["predicted"][()]), 1)
            assert (confusion == group["confusion"][()]).all() and confusion.sum() == samples
            axes = group.attrs["confusion_axes"]
            assert (axes.decode() if isinstance(axes, bytes) else axes) == "[true class][predicted class]", axes
            assert abs(group["loss"][()].mean() - group.attrs["loss"]) < 1e-6
            assert len(set(group["sample"][()])) == samples
            wrong = group["class"][()] != group["predicted"][()]
            assert (group["worst/loss"][()] == np.sort(group["loss"][()][wrong])[::-1][:10]).all()
        assert other["curve/accuracy"][0] == file["test"].attrs["accuracy"]
        with h5py.File(folder / "metrics.h5") as metrics:
            tests = metrics["tests"]
            assert list(tests["epoch"]) == [1, 2] and tests["accuracy"][1] == file["test"].attrs["accuracy"]
        examples = other["examples"]
        epsilon = other["curve/epsilon"][()][:, None, None, None]
        want = np.clip(examples["original"][()] + epsilon * examples["perturbation"][()], 0, 1)
        assert np.allclose(examples["adversarial"][()], want, atol=1e-6)
        first = other["curve/epsilon"][0] == 0 and (examples["predicted"][0] == examples["class"][()]).all()
        assert first, "examples are recognised as they are"


shutil.rmtree(FOLDER, ignore_errors=True)
if len(sys.argv) > 3:
    test_real_run(sys.argv[3], sys.argv[4])
else:
    test_report()
    test_history()
    test_mlp()
    test_odd_results()
    test_outputs()
    test_python_without_modules()
    test_cut_off()
    test_cnn()
    test_nested()
print("report.py and figures.py: passed")
