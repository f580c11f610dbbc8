"""Optimizers, schedules and warm-up against torch.optim in double: 20 steps, in the middle of which the run is resumed.

    recipe.py SOURCE WORK LOCKSTEP MAKE_IDX
"""
import gzip
import os
import shutil
import subprocess
import sys

try:
    import h5py
    import numpy
    import torch
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

torch.set_num_threads(1)
SOURCE, WORK, LOCKSTEP, MAKE_IDX = sys.argv[1:5]
DATA = os.path.join(WORK, "data")
SAMPLES, STEPS, MIDDLE, RATE = 40, 20, 9, 0.05
TOLERANCE = 1e-12  # relative to the largest element of a tensor
NETWORK = "[flatten, {dense: {units: 12}}, tanh, {dense: {units: 10}}]"

# Words of a configuration, and what they are in PyTorch. An epsilon that is not tiny: where a gradient is near 0, Adam's
# first step would make much of its last bits.
optim, lr_scheduler = torch.optim, torch.optim.lr_scheduler
OPTIMIZERS = {
    "optimizer=sgd weight_decay=0.01": lambda p: optim.SGD(p, RATE, weight_decay=0.01),
    "optimizer=momentum momentum=0.8": lambda p: optim.SGD(p, RATE, momentum=0.8),
    "optimizer=momentum nesterov=true weight_decay=0.1":
        lambda p: optim.SGD(p, RATE, momentum=0.9, nesterov=True, weight_decay=0.1),
    "optimizer=adam epsilon=0.001 beta1=0.7":
        lambda p: optim.Adam(p, RATE, betas=(0.7, 0.999), eps=0.001),
    "optimizer=adamw epsilon=0.001 weight_decay=0.3":
        lambda p: optim.AdamW(p, RATE, eps=0.001, weight_decay=0.3),
    "optimizer=rmsprop epsilon=0.1 alpha=0.9 weight_decay=0.1":
        lambda p: optim.RMSprop(p, RATE, alpha=0.9, eps=0.1, weight_decay=0.1),
}
SGD = "optimizer=sgd"
SCHEDULES = {  # an epoch is a step
    "schedule=multistep milestones=[4,12] gamma=0.3": lambda o: lr_scheduler.MultiStepLR(o, [4, 12], 0.3),
    "schedule=exponential gamma=0.8": lambda o: lr_scheduler.ExponentialLR(o, 0.8),
    "schedule=cosine horizon=20 floor=0.1": lambda o: lr_scheduler.CosineAnnealingLR(o, 20, 0.1 * RATE),
    "schedule=linear horizon=15 floor=0.2": lambda o: lr_scheduler.LinearLR(o, 1, 0.2, 15),
    "schedule=one_cycle horizon=20 peak=0.4 start_divisor=10 end_divisor=100":
        lambda o: lr_scheduler.OneCycleLR(o, RATE, 20, pct_start=0.4, cycle_momentum=False, div_factor=10,
                                          final_div_factor=100),
    "schedule=constant warmup=6": lambda o: lr_scheduler.LinearLR(o, 1 / 6, 1, 5),
    "schedule=cosine horizon=20 warmup=6": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.CosineAnnealingLR(o, 20), lr_scheduler.LinearLR(o, 1 / 6, 1, 5)]),
}


def run(*words):
    subprocess.run([LOCKSTEP, *words], stdout=subprocess.DEVNULL, check=True)


def read_idx(name, header):
    for path, opener in ((f"{DATA}/{name}", open), (f"{DATA}/{name}.gz", gzip.open)):
        if os.path.exists(path):
            with opener(path, "rb") as file:
                return numpy.frombuffer(file.read()[header:], numpy.uint8)
    sys.exit(f"{DATA}: no {name}")


def theirs(start, x, y, make_optimizer, make_schedule):
    p = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = make_optimizer(list(p.values()))
    schedule = make_schedule(optimizer) if make_schedule else None
    for _ in range(STEPS):
        optimizer.zero_grad()
        hidden = torch.tanh(x @ p["1.weight"].T + p["1.bias"])
        torch.nn.functional.cross_entropy(hidden @ p["3.weight"].T + p["3.bias"], y).backward()
        optimizer.step()
        if schedule:
            schedule.step()
    return {name: value.detach() for name, value in p.items()}


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(DATA)
    subprocess.run([MAKE_IDX, DATA, str(SAMPLES), "10"], check=True)
    images, labels = read_idx("train-images-idx3-ubyte", 16), read_idx("train-labels-idx1-ubyte", 8)
    x = torch.from_numpy(images.reshape(SAMPLES, -1).astype(numpy.float64) / 255)
    y = torch.from_numpy(labels.astype(numpy.int64))
    common = [f"data={DATA}", f"split={SAMPLES}", f"batch={SAMPLES}", f"lr={RATE}", "precision=fp64",
              "loss_clip=0", "comm=self", "progress=none", "epochs=100"]
    generator = torch.Generator().manual_seed(1)
    shapes = {"1.weight": (12, x.shape[1]), "1.bias": (12,), "3.weight": (10, 12), "3.bias": (10,)}
    start = {name: 0.2 * torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}
    state = f"{WORK}/state.h5"
    with h5py.File(state, "w") as file:
        for name, value in start.items():
            file[name] = value.numpy()
    with open(f"{WORK}/config.yaml", "w", encoding="ascii") as file:
        file.write(f"network: {NETWORK}\n")
    failures = 0
    cases = [(words, make, None) for words, make in OPTIMIZERS.items()] + \
            [(f"{SGD} {words}", lambda p: optim.SGD(p, RATE), make) for words, make in SCHEDULES.items()]
    for case, (words, make_optimizer, make_schedule) in enumerate(cases):
        folder = f"{WORK}/{case}"
        settings = [f"{WORK}/config.yaml", *common, *words.split()]
        os.makedirs(folder)
        run("import", settings[0], state, f"{folder}/start.h5", *settings[1:])
        run("train", *settings, f"output={folder}/run", f"steps={MIDDLE}", f"resume={folder}/start.h5")
        run("train", *settings, f"output={folder}/run", f"steps={STEPS}", "resume=auto")
        expected = theirs(start, x, y, make_optimizer, make_schedule)
        with h5py.File(f"{folder}/run/checkpoint-{STEPS}.h5") as file:
            ours = {name: torch.from_numpy(file["model"][name][()]) for name in expected}
        error = max(((ours[n] - expected[n]).abs().max() / expected[n].abs().max()).item() for n in expected)
        moved = max((expected[n] - start[n]).abs().max().item() for n in expected)
        good = error <= TOLERANCE < moved
        failures += not good
        print(f"{'' if good else 'FAILED: '}{words}: {error:.1e} apart after a way of {moved:.1e}")
    return failures > 0


sys.exit(main())
