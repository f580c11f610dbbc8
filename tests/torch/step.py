"""Steps of lockstep against the same steps in torch.float64.

    step.py SOURCE WORK DATA DUMP_STEP CONFIG [KEY=VALUE ...] [-- [KEY=VALUE ...]] ...

Each group of KEY=VALUE is a variant of the network. For each, in fp64 with SGD, momentum, Adam and report 1's
Adam, and in fp32, several steps are taken, the last of an epoch with fewer samples. torch begins each of them
from lockstep's state before it.
"""
import os
import shutil
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

# What the project promises (issue 4), relative to the largest element of a tensor, for logits of the batch.
TOLERANCE = {"fp64": 1e-10, "fp32": 1e-5}
OPTIMIZERS = {
    "sgd": ["optimizer=sgd", "lr=0.05", "weight_decay=0.01"],
    "momentum": ["optimizer=momentum", "lr=0.02", "momentum=0.9", "l2_mean=0.5"],
    "adam": ["optimizer=adam", "lr=0.002", "weight_decay=0.001", "epsilon_inside=false", "decay_power=0"],
    "report's adam": ["optimizer=adam", "epsilon=1e-8", "l2_mean=0.5", "epsilon_inside=true",
                      "decay_power=0.2"],
}


class Worst:
    """The largest error of each kind of tensor, and those beyond the tolerance."""

    def __init__(self, tolerance):
        self.tolerance, self.errors, self.failures, self.kinks = tolerance, {}, [], 0

    def compare(self, kind, name, ours, theirs, scale=None):
        ours, theirs = numpy.asarray(ours, dtype=numpy.float64), numpy.asarray(theirs, dtype=numpy.float64)
        assert ours.shape == theirs.shape, (kind, name, ours.shape, theirs.shape)
        largest = abs(theirs).max() if scale is None else scale
        difference = abs(ours - theirs).max()
        error = 0.0 if difference == 0 else difference / largest if largest > 0 else float("inf")
        self.errors[kind] = max(error, self.errors.get(kind, 0.0))
        if not error <= self.tolerance:
            self.failures.append(f"{kind} of {name}: {error:.3g}, expected at most {self.tolerance:g}")


def state_of(group):
    return {name: torch.from_numpy(numpy.asarray(data[()])) for name, data in group.items()}


def mean_square(parameters):
    return sum((p ** 2).sum() for p in parameters) / sum(p.numel() for p in parameters)


def cancelled_biases(model):
    """Biases whose gradient is zero but for rounding: the normalisation behind takes a constant away again."""
    found = []
    for chain in model.chains:
        for i, (name, kind, settings) in enumerate(chain):
            behind = [k for _, k, _ in chain[i + 1:]]
            while behind and behind[0] in ("max_pool", "dense"):  # a constant stays one
                kind = "dense" if behind.pop(0) == "dense" else kind
            normalised = behind[:1] == ["batchnorm"] or (behind[:1] == ["instance_norm"] and kind == "conv2d")
            if normalised and (settings.get("bias") or settings.get("affine")):
                found.append(f"{name}.bias")
    return found


def sums_of_terms(model, biases):
    """The terms of a bias's gradient, added up without signs: where they cancel, errors are measured by that."""
    sums = {}

    def watch(bias):
        def keep(gradient):
            sums[bias] = gradient.abs().sum(dim=[d for d in range(gradient.dim()) if d != 1]).max().item()

        model.get_submodule(bias.rsplit(".", 1)[0]).register_forward_hook(
            lambda module, inputs, output: output.register_hook(keep) and None)

    for bias in biases:
        watch(bias)
    return sums


def decide_kinks(model, outputs):
    """Where a relu's input is 0 but for fp32's rounding, either gradient is right: torch takes lockstep's."""
    relus = [module for module in model.modules() if isinstance(module, torch.nn.ReLU)]
    calls = []

    def hook(module, inputs, _):
        z = inputs[0]
        ours = torch.from_numpy(outputs[str(len(calls))][()])
        ours = ours.permute(0, 3, 1, 2) if ours.dim() == 4 else ours
        near = z.detach().abs() <= TOLERANCE["fp32"] * z.detach().abs().max()
        calls.append(int((near & ((ours > 0) != (z > 0))).sum()))
        return z * torch.where(near, ours > 0, z > 0)

    for module in relus:
        module.register_forward_hook(hook)
    return calls


def torch_update(config, step, rate, model, before):
    """Moments and parameters after the step of torch.optim, from the gradients in .grad."""
    names = dict(model.named_parameters())
    kind = config["optimizer"]
    if kind == "adam":
        optimizer = torch.optim.Adam(names.values(), lr=rate, betas=(config["beta1"], config["beta2"]),
                                     eps=config["epsilon"], weight_decay=config["weight_decay"])
    else:
        optimizer = torch.optim.SGD(names.values(), lr=rate, weight_decay=config["weight_decay"],
                                    momentum=config["momentum"] if kind == "momentum" else 0)
    for name, p in names.items():
        if kind == "adam":
            optimizer.state[p] = {"step": torch.tensor(float(step - 1)),
                                  "exp_avg": before["m"][name].double(),
                                  "exp_avg_sq": before["v"][name].double()}
        elif kind == "momentum" and step > 1:
            optimizer.state[p] = {"momentum_buffer": before["m"][name].double()}
    optimizer.step()
    slots = {"adam": {"m": "exp_avg", "v": "exp_avg_sq"}, "momentum": {"m": "momentum_buffer"}, "sgd": {}}[kind]
    after = {key: {name: optimizer.state[p][slot] for name, p in names.items()} for key, slot in slots.items()}
    return {**after, "model": {name: p.detach() for name, p in names.items()}}


def report_update(config, step, rate, model, before):
    """Report 1's Adam, by hand: eps inside the root, learning rate over t^p."""
    after = {"m": {}, "v": {}, "model": {}}
    b1, b2 = config["beta1"], config["beta2"]
    for name, p in model.named_parameters():
        w = p.detach().numpy()
        g = p.grad.numpy() + config["weight_decay"] * w
        m = b1 * before["m"][name].double().numpy() + (1 - b1) * g
        v = b2 * before["v"][name].double().numpy() + (1 - b2) * g ** 2
        root = numpy.sqrt(v / (1 - b2 ** step) + config["epsilon"])
        after["m"][name], after["v"][name] = m, v
        after["model"][name] = w - rate / step ** config["decay_power"] * (m / (1 - b1 ** step)) / root
    return after


def check_step(config, step, group, worst):
    images, labels = group["images"][()], torch.from_numpy(group["labels"][()])
    model = Network(config, *images.shape[1:])
    cancelled = cancelled_biases(model)
    terms = sums_of_terms(model, cancelled)
    before = {"model": state_of(group["before/model"])}
    for key in "m", "v":
        if f"before/optimizer/{key}" in group:
            before[key] = state_of(group[f"before/optimizer/{key}"])
    model.load_state_dict(before["model"], strict=True)

    if config["precision"] == "fp32":
        kinks = decide_kinks(model, group["relu"])
    x = torch.from_numpy(images)[:, None] / (255 if config["pixels"] == "unit" else 1)
    logits = model.train()(x)
    likelihoods = logits.softmax(dim=1)[torch.arange(len(labels)), labels]
    assert likelihoods.min() > config["loss_clip"], "the loss is clipped: not what is compared here"
    loss = torch.nn.functional.cross_entropy(logits, labels)
    loss.backward(retain_graph=True)
    worst.compare("loss", "the batch", group["loss"][()], loss.item())
    worst.compare("logits", "the batch", group["logits"][()], logits.detach())
    correct = (logits.argmax(dim=1) == labels).sum().item()
    assert group["correct"][()] == correct, (group["correct"][()], correct)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    assert set(gradients) == set(group["gradient"]), set(gradients) ^ set(group["gradient"])
    for name, gradient in gradients.items():
        worst.compare("gradient", name, group["gradient"][name][()], gradient, terms.get(name))
    for name, buffer in model.named_buffers():
        layer, kind = name.rsplit(".", 1)
        scale = None
        if kind == "running_mean":  # may be 0 itself; it is subtracted from what deviates by so much
            deviation = model.get_buffer(f"{layer}.running_var").max().item() ** 0.5
            scale = max(abs(buffer).max().item(), deviation)
        worst.compare(kind, name, group["after/model"][name][()], buffer, scale)
    if config["precision"] == "fp32":
        worst.kinks += sum(kinks)
        return  # the promise ends here: Adam makes much of rounding where a gradient is near 0

    for name in cancelled:  # only rounding, which Adam magnifies by up to lr / eps: both sides take the same
        model.get_parameter(name).grad = state_of(group["gradient"])[name].double()
    (config["l2_mean"] * mean_square(list(model.parameters()))).backward()
    reports = config["optimizer"] == "adam" and (config["epsilon_inside"] or config["decay_power"])
    update = report_update if reports else torch_update
    after = update(config, step, group["rate"][()], model, before)
    for key, tensors in after.items():
        kind, where = "parameter", "after/model"
        if key != "model":
            kind, where = f"moment {key}", f"after/optimizer/{key}"
        for name, tensor in tensors.items():
            worst.compare(kind, name, group[where][name][()], tensor)


def check_case(dump_step, config, path, steps, overrides, precision):
    command = [dump_step, config, path, str(steps), *overrides, f"precision={precision}"]
    subprocess.run(command, check=True)
    worst = Worst(TOLERANCE[precision])
    with h5py.File(path) as file:
        resolved = yaml.safe_load(file["config/yaml"][()].decode())
        for step in range(1, steps + 1):
            check_step(resolved, step, file[f"step{step}"], worst)
    os.remove(path)
    print(f"  {precision}  " + "  ".join(f"{kind} {error:.1e}" for kind, error in worst.errors.items()),
          f"({worst.kinks} relu inputs at 0)" if worst.kinks else "")
    for failure in worst.failures:
        print(f"FAILED: {failure}")
    return not worst.failures


def variants_of(words):
    variants = [[]]
    for word in words:
        if word == "--":
            variants.append([])
        else:
            variants[-1].append(word)
    return variants


def main():
    source, work, data, dump_step, config, *words = sys.argv[1:]
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    # Batches of 24, 24 and 8 samples in 16 shards, then the next epoch.
    common = [f"data={data}", "split=56", "batch=24", "augment=0", "progress=none", "comm=self"]
    good = True
    for variant in variants_of(words):
        for name, settings in OPTIMIZERS.items():
            print(os.path.relpath(config, source), *variant, name)
            for precision in ("fp64", "fp32") if name == "sgd" else ("fp64",):
                path = os.path.join(work, "steps.h5")
                good &= check_case(dump_step, config, path, 4, common + variant + settings, precision)
                sys.stdout.flush()
    sys.exit(0 if good else 1)


main()
