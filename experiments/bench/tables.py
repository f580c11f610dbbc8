"""What compare_torch.py prints of what it found: sections of RESULTS.md."""
import datetime
import os
import shlex
import subprocess
import sys
from pathlib import Path

from contenders import is_reduced

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16")


def processor():
    """Model, and those of FLAGS that it has."""
    facts = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts.get("model name", "unknown"), [flag for flag in FLAGS if flag in facts.get("flags", "").split()]


def facts_of(args):
    """Of the machine and of the run."""
    model, flags = processor()
    version = subprocess.run([args.lockstep, "--version"], capture_output=True, text=True, check=True).stdout
    return {"date": datetime.date.today().isoformat(), "processor": model, "flags": flags, "cores": os.cpu_count(),
            "cores_used": sorted(args.cores), "ranks": args.ranks, "threads": args.threads, "precision": args.precision,
            "rounds": args.rounds, "seconds": args.seconds, "clock": args.clock, "lockstep": version.splitlines()[0],
            "command": shlex.join(["experiments/bench/compare_torch.py", *sys.argv[1:]])}


def plural(count, what):
    return f"{count} {what}{'' if count == 1 else 's'}"


def ceiling(ours, clock):
    """GFLOP/s of the multiply-add loop on all threads, by the clock of the comparison."""
    return ours["fma_gflops_per_core" if clock == "cpu" else "fma_gflops"]


def table(result, clock):
    """A line for each contender. GFLOP/s are nominal, the same work for all: products of the network and of their two
    gradients."""
    ours, images = result["lockstep"], result["lockstep"]["images_per_step"]
    mflop = 1e-6 * ours["flop_per_image"] * images
    lines = [f"| {result['network']}, {result['precision']} | ms a step | quartiles | images/s | GFLOP/s | of FMA loop | "
             "time / lockstep's | quartiles | processors |", "|---|---|---|---|---|---|---|---|---|"]
    for row in result["rows"]:
        ms, ratio = row["ms"], row["ratio"]
        name = f"**{row['contender']}**" if row["contender"] == result["best"] else row["contender"]
        lines.append(f"| {name} | {ms['median']:.2f} | {ms['q1']:.2f} .. {ms['q3']:.2f} | {1e3 * images / ms['median']:.0f} | "
                     f"{mflop / ms['median']:.1f} | {100 * mflop / ms['median'] / ceiling(ours, clock):.1f} % | "
                     f"{ratio['median']:.2f} | {ratio['q1']:.2f} .. {ratio['q3']:.2f} | {row['processors']:.2f} |")
    return lines


def ceilings(result, clock):
    found, ours = result["lockstep"]["ceilings"], result["lockstep"]
    parts = [f"FMA loop {ceiling(ours, clock):.1f} GFLOP/s ({found['fma_instruction_set']})"]
    for key, name, unit in (("amx_gflops", "AMX loop, bf16", "GFLOP/s"), ("copy_gb_per_s", "copy", "GB/s")):
        if found.get(key) and found[key]["all"]["median"]:
            parts.append(f"{name} {found[key]['all']['median']:.1f} {unit}")
    return f"Ceilings in the same run: {', '.join(parts)}. Data: {ours['data_set']}."


def curves(result):
    """A sentence on what compare_curves() found."""
    found = result["curves"]
    first, most = found["tolerance"]
    line = (f"{plural(found['steps'], 'step')} on one batch, losses {found['first']:.4f} .. {found['last']:.4f}; differences in "
            "the first step and at most, relative to the first loss.")
    for reduced, what in (False, f"In fp32, {first:g} and {most:g} allowed"), (True, "In less than fp32, not judged"):
        modes = [f"{name} {error['first']:.1e}, {error['most']:.1e}" for name, error in found["deviation"].items()
                 if is_reduced(name) == reduced]
        if modes:
            line += f" {what}: {'; '.join(modes)}."
    return f"{line} PyTorch's fp32 modes among themselves: {found['among_pytorch']:.1e}."


def quiet(result, facts):
    """A warning if a contender did not have the cores for itself; waiting for messages looks the same, so only where there
    are none."""
    if facts["ranks"] * facts["threads"] > 1 or facts["clock"] == "cpu":
        return []
    disturbed = [row["contender"] for row in result["rows"] if row["processors"] < 0.97]
    return [f"Not a quiet machine: less than 97 % of a core for {', '.join(disturbed)}."] if disturbed else []


def section(facts, results):
    """Markdown of all networks of one call."""
    torch = results[0]["pytorch"]
    lines = [f"### {plural(facts['ranks'], 'rank')} of {plural(facts['threads'], 'thread')}, {facts['precision']}: "
             f"{facts['processor']}, {facts['date']}", "", f"    {facts['command']}", "",
             f"{plural(facts['cores'], 'core')} ({', '.join(facts['flags'])}), used: "
             f"{', '.join(map(str, facts['cores_used']))}; {facts['lockstep']}, PyTorch {torch['torch']} "
             f"({torch['instruction_set']}); {plural(facts['rounds'], 'round')} of {facts['seconds']:g} s, "
             f"{'processor' if facts['clock'] == 'cpu' else 'wall'} time.", ""]
    for result in results:
        notes = [curves(result)]
        if "rows" in result:
            lines += [*table(result, facts["clock"]), ""]
            notes = [*quiet(result, facts), ceilings(result, facts["clock"]),
                     f"lockstep, {result['lockstep']['instruction_set']} kernels: `{result['command']}`", *notes]
        if result["absent"]:
            notes.append(f"Could not run: {', '.join(result['absent'])}.")
        lines += [*(f"* {note}" for note in notes), ""]
    return "\n".join(lines)
