"""report.py and figures.py on a history written here in the layout of metrics.h: test_figures.py EXPERIMENTS FOLDER"""

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


def run(script, *arguments, code=0):
    done = subprocess.run([sys.executable, "-E", "-s", EXPERIMENTS / script, *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    assert done.returncode == code, f"{script} {arguments}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


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


test_report()
test_history()
print("report.py and figures.py: passed")
