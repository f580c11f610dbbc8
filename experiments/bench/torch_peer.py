"""One contender of compare_torch.py: a network trained by PyTorch in one mode, timed step by step.

    torch_peer.py SPEC.json        the specification that compare_torch.py writes; see Peer

A mode is a set of words joined by "+":
  eager          nothing but the words below (the network as it is written)
  compile        torch.compile of forward and loss, backward through it; maxauto: the same with mode="max-autotune"
  channels_last  images and weights in N H W C
  fused, foreach Adam's implementation; without, the default
  autocast       bf16 by torch.autocast, weights and optimizer in fp32
  bf16math       fp32 tensors whose products may be taken in bf16 (set_float32_matmul_precision and oneDNN's fp32_precision)
  malloc         the process has an allocator that keeps its memory (ALLOCATOR)
Commands come as lines of JSON, and each is answered by one: {"curve": steps, "factor": f} with {"losses": [..]} of as many
steps on the first batch, lr times f; {"time": steps} with {"ms": [..], "cpu_ms": [..]}, wall and processor time of as many
steps over all batches.
"""
import datetime
import json
import os
import sys
import time
from pathlib import Path

# glibc gives large blocks back to the system and fetches them again, page fault by page fault, in every step. With these
# it keeps them, in huge pages: what an allocator such as jemalloc is recommended for.
ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:"
                               "glibc.malloc.trim_threshold=17179869184"}


WORDS = {"eager", "compile", "maxauto", "channels_last", "fused", "foreach", "autocast", "bf16math", "malloc"}


class Peer:
    """The spec: config, curve_config: resolved configurations as text (the second without dropout); weights: a checkpoint;
    data: .npz with images [n, h, w] and labels; batch: samples of a step, over all ranks; mode; rank, ranks, port; threads."""

    def __init__(self, spec):
        self.spec = spec
        self.words = set(spec["mode"].split("+"))
        self.configs = {name: yaml.safe_load(spec[name]) for name in ("config", "curve_config")}
        if "bf16math" in self.words:
            torch.set_float32_matmul_precision("medium")
            torch.backends.mkldnn.matmul.fp32_precision = "bf16"
            torch.backends.mkldnn.conv.fp32_precision = "bf16"
        self.batches = self._batches()
        if spec["ranks"] > 1:
            torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{spec['port']}", rank=spec["rank"],
                                                 world_size=spec["ranks"], timeout=datetime.timedelta(minutes=10))
        self.step = None
        self.steps = 0

    def _batches(self):
        """This rank's part of every batch, as float tensors in memory."""
        with numpy.load(self.spec["data"]) as data:
            images, labels = data["images"], data["labels"]
        scale = 255 if self.configs["config"]["pixels"] == "unit" else 1
        rank, ranks, batch = (self.spec[key] for key in ("rank", "ranks", "batch"))
        first, last = rank * batch // ranks, (rank + 1) * batch // ranks
        made = []
        for begin in range(0, len(images) - batch + 1, batch):
            x = torch.from_numpy(images[begin + first:begin + last]).float()[:, None] / scale
            y = torch.from_numpy(labels[begin + first:begin + last]).long()
            made.append((x.contiguous(memory_format=self._format()), y))
        return made

    def _format(self):
        return torch.channels_last if "channels_last" in self.words else torch.contiguous_format

    def make_step(self, config, factor=1):
        """A function (images, labels) -> loss that takes a training step, from the initial weights on."""
        height, width = self.batches[0][0].shape[2:]
        model = Network(config, height, width).float().train()
        with h5py.File(self.spec["weights"]) as file:
            # Statistics for evaluation are no part of the start; PyTorch's are kept as they begin.
            state = {name: torch.as_tensor(data[()]) for name, data in file["model"].items()
                     if "running_" not in name and "num_batches" not in name}
        missing = model.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys and not [k for k in missing.missing_keys if "running_" not in k and
                                                    "num_batches" not in k], missing
        model = model.to(memory_format=self._format())
        optimizer = self._adam(config, model, factor)
        if self.spec["ranks"] > 1:
            # Each rank's BatchNorm keeps statistics of its own: PyTorch synchronises them on GPUs only.
            model = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)

        def forward(x, y):
            with torch.autocast("cpu", torch.bfloat16, enabled="autocast" in self.words):
                logits = model(x)
            return nn.functional.cross_entropy(logits.float(), y)

        if self.words & {"compile", "maxauto"}:
            forward = torch.compile(forward, mode="max-autotune" if "maxauto" in self.words else None)

        def step(x, y):
            optimizer.zero_grad(set_to_none=True)
            loss = forward(x, y)
            loss.backward()
            optimizer.step()
            return loss

        return step

    def _adam(self, config, model, factor):
        assert config["optimizer"] == "adam" and not config["epsilon_inside"] and config["decay_power"] == 0
        parameters = list(model.parameters())
        elements = sum(p.numel() for p in parameters)
        kind = {word: True for word in ("fused", "foreach") if word in self.words}
        # d/dw of l2_mean x the mean of the squares, added to the gradient as PyTorch's weight decay is
        return torch.optim.Adam(parameters, lr=config["lr"] * factor, betas=(config["beta1"], config["beta2"]),
                                eps=config["epsilon"],
                                weight_decay=config["weight_decay"] + 2 * config["l2_mean"] / elements, **kind)

    def curve(self, steps, factor):
        step = self.make_step(self.configs["curve_config"], factor)
        return {"losses": [step(*self.batches[0]).item() for _ in range(steps)]}

    def time(self, steps):
        self.step = self.step or self.make_step(self.configs["config"])
        wall, cpu = [], []
        for _ in range(steps):
            batch = self.batches[self.steps % len(self.batches)]
            begin, busy = time.perf_counter(), time.process_time()
            self.step(*batch)
            cpu.append(1e3 * (time.process_time() - busy))
            wall.append(1e3 * (time.perf_counter() - begin))
            self.steps += 1
        return {"ms": wall, "cpu_ms": cpu}

    def facts(self):
        try:
            capability = torch.backends.cpu.get_cpu_capability()
        except AttributeError:  # before 2.1
            capability = "instruction set unknown"
        return {"torch": torch.__version__, "instruction_set": capability}


def main():
    # What libraries print goes to standard error: standard output is for answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    spec = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(spec["threads"])
    torch.set_num_interop_threads(1)
    peer = Peer(spec)
    print(json.dumps(peer.facts()), file=answers)
    for line in sys.stdin:
        command = json.loads(line)
        answer = peer.curve(command["curve"], command["factor"]) if "curve" in command else peer.time(command["time"])
        print(json.dumps(answer), file=answers)
    if spec["ranks"] > 1:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    try:
        import h5py
        import numpy
        import torch
        import yaml
        from torch import nn
    except ImportError as missing_module:
        print(f"{sys.executable}: {missing_module}", file=sys.stderr)
        sys.exit(77)
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "torch"))
    from network import Network
    main()
