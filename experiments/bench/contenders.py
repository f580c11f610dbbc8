"""What compare_torch.py compares: lockstep, and PyTorch in its modes. Both take the same number of steps when told to."""
import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from statistics import median

import torch_peer

TOP = Path(__file__).resolve().parents[2]
CONFIGS = {"R": "experiments/table2/row1-stated.yaml", "M": "experiments/table1/row6-published.yaml"}
# What both sides can say: eps outside the root, a constant rate, running statistics in BatchNorm. M's l2_mean stays.
SAME = ["augment=0", "epsilon_inside=false", "decay_power=0", "clip_gradient=ignored",
        "defaults.batchnorm.statistics=exponential"]
NO_DROPOUT = {"R": [], "M": ["defaults.dropout.rate=0"]}


class Failure(Exception):
    """A contender cannot run; the text says which and why."""


def is_reduced(name):
    """Does the contender of this name compute in less than fp32?"""
    return bool({"autocast", "bf16math", "bf16"} & set(name.replace(", ", "+").split("+")))


def mpi_environment():
    """As launch/environment.sh has it: ranks may be more than cores and are not bound."""
    return {**os.environ, "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "PRTE_MCA_hwloc_default_binding_policy": "none",
            "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Ours:
    """lockstep on some ranks of some threads, a new process for each measurement; .report is that of the last one."""

    def __init__(self, args, network, work, ranks, threads):
        self.args, self.work, self.ranks = args, work, ranks
        self.name = "lockstep" + (f", {ranks} x {threads}" if args.ranks * args.threads > 1 else "")
        self.config = CONFIGS[network]
        self.settings = [*SAME, f"data={args.data}", f"split={args.split}", f"batch={args.batch}",
                         f"threads={threads}", f"precision={args.precision}"]
        self.one_batch = [*SAME, *NO_DROPOUT[network], f"data={work / 'one'}", f"batch={args.batch}",
                          f"split={args.batch}"]
        self.report = None

    def shown(self):
        """The command of a measurement without what differs from machine to machine."""
        words = [word for word in self.command() if not word.startswith("data=")]
        return shlex.join(Path(word).name if word == self.args.lockstep else word for word in words)

    def command(self):
        launch = [*shlex.split(self.args.mpirun), "-n", str(self.ranks)] if self.ranks > 1 else []
        return [*launch, self.args.lockstep, "bench", "step", self.config, *self.settings, "--json"]

    def _run(self, command):
        try:
            done = subprocess.run(command, cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  env=mpi_environment(), preexec_fn=lambda: os.sched_setaffinity(0, self.args.cores))
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror}; build it, or name it with --lockstep") from error
        if done.returncode != 0:
            raise Failure(f"{shlex.join(command)}: exit code {done.returncode}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def resolve(self, more=()):
        """The configuration as PyTorch's side reads it: resolved, YAML. Its precision is PyTorch's own affair."""
        settings = [word for word in self.settings if not word.startswith("precision=")]
        return self._run([self.args.lockstep, "train", self.config, *settings, "precision=fp32", *more, "--dry-run"])

    def initial(self):
        """A checkpoint of the initial weights: after a step at a learning rate of 0."""
        self._run([self.args.lockstep, "train", self.config, *self.one_batch, "lr=0", "steps=1",
                   f"output={self.work / 'initial'}"])
        return self.work / "initial" / "checkpoint-1.h5"

    def curve(self, steps, precision="fp32"):
        """Losses of so many steps on one batch, on one rank of one thread."""
        text = self._run([self.args.lockstep, "bench", "step", self.config, *self.one_batch, f"precision={precision}",
                          "bench_data=real", "bench_warmup=0", f"bench_steps={steps}", "--json"])
        return json.loads(text)["losses"][:steps]

    def measure(self, steps):
        """Step time in milliseconds by the clock of the comparison, and how many processors it kept busy."""
        self.report = json.loads(self._run([*self.command(), "bench_warmup=2", f"bench_steps={steps}"]))
        wall, processor = self.report["step_ms"], self.report["processor_ms"]["median"]
        return (processor if self.args.clock == "cpu" else wall), processor / wall

    def close(self):
        pass


class Theirs:
    """PyTorch in one mode: a process, or one for each rank, that stays and waits for commands; .facts is what it is. Fails
    where that mode cannot train here."""

    def __init__(self, args, mode, spec, work, ranks, threads):
        self.args, self.mode, self.ranks, self.threads = args, mode, ranks, threads
        self.name = mode
        if args.ranks * args.threads > 1:
            self.name += f", DDP {ranks} x {threads}" if ranks > 1 else f", {ranks} x {threads}"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes, self.log = [], work / f"{self.name}.log"
        for rank in range(ranks):
            path = work / f"{self.name}-{rank}.json"
            path.write_text(json.dumps({**spec, "mode": mode, "rank": rank, "ranks": ranks, "threads": threads,
                                        "port": port}))
            self.processes.append(self._start(path))
        try:
            self.facts = self._ask(None)[0]
            self.measure(1)
        except Failure:
            self.close()
            raise

    def _start(self, path):
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "GLOO_SOCKET_IFNAME": "lo"}
        if "malloc" in self.mode.split("+"):
            environment.update(torch_peer.ALLOCATOR)
        with open(self.log, "a", encoding="utf-8") as log:
            return subprocess.Popen([sys.executable, "-B", "-W", "ignore", torch_peer.__file__, str(path)], text=True,
                                    bufsize=1, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                    preexec_fn=lambda: os.sched_setaffinity(0, self.args.cores))

    def _ask(self, command):
        """Each process's answer to the command; to None, what it says first."""
        for process in self.processes if command else []:
            with contextlib.suppress(BrokenPipeError):  # it has no answer either
                print(json.dumps(command), file=process.stdin)
        answers = [process.stdout.readline() for process in self.processes]
        if not all(answers):
            said = self.log.read_text(encoding="utf-8").strip().splitlines() or ["nothing"]
            raise Failure(f"PyTorch, {self.name}, {command or 'start'}: {said[-1][:400]}")
        return [json.loads(answer) for answer in answers]

    def curve(self, steps, factor=1):
        """Losses of so many steps on one batch in this mode; the learning rate is that of the configuration x factor."""
        return self._ask({"curve": steps, "factor": factor})[0]["losses"]

    def measure(self, steps):
        """As Ours.measure()."""
        answers = self._ask({"time": steps})
        processor, wall = sum(median(answer["cpu_ms"]) for answer in answers), median(answers[0]["ms"])
        return (processor if self.args.clock == "cpu" else wall), processor / wall

    def close(self):
        for process in self.processes:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:  # it waits for a rank that is no more
                process.kill()
                process.wait()
