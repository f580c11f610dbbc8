"""What nvcc makes of the kernels: registers and shared memory within tests/cuda/budget.txt, nothing spilled, no stack,
and in the PTX no arithmetic in fp32 and fp64 but correctly rounded one.

budget.py NVCC SOURCE_FOLDER WORK_FOLDER [--write]: --write sets the file to what was found."""

import hashlib
import pathlib
import re
import shutil
import subprocess
import sys

nvcc = sys.argv[1]
source, work = (pathlib.Path(a).resolve() for a in sys.argv[2:4])
BUDGET = source / "tests" / "cuda" / "budget.txt"
TARGETS = (89, 90)
ROUNDED = {"add", "sub", "mul", "fma", "mad", "div", "sqrt", "rcp"}
APPROXIMATE = {"ex2", "lg2", "sin", "cos", "rsqrt", "tanh"}


def fingerprint(file):
    """Of all that a kernel file may include, so that what is unchanged is not compiled again."""
    sha = hashlib.sha256(file.read_bytes())
    for header in sorted((source / "src").rglob("*.h")):
        sha.update(header.read_bytes())
    for shared in ("core/elementary.c", *sorted(p.as_posix() for p in (source / "src/layers/activations").glob("*.c"))):
        sha.update((source / "src" / shared).read_bytes())
    return sha.hexdigest()


def compile_file(file):
    """Folder with ptxas.txt and the PTX of each target."""
    folder = work / file.relative_to(source).as_posix().replace("/", "+")
    stamp = folder / "stamp.txt"
    if stamp.exists() and stamp.read_text() == fingerprint(file):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    targets = [f"-gencode=arch=compute_{t},code=sm_{t}" for t in TARGETS]
    result = subprocess.run(
        [nvcc, "-std=c++17", "-O3", "-fmad=false", *targets, "-fatbin", "-Xptxas=-v", "--threads=2", "--keep",
         f"--keep-dir={folder}", f"-I{source / 'src'}", "-o", str(folder / "out.fatbin"), str(file)],
        capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(result.stdout + result.stderr)
    (folder / "ptxas.txt").write_text(result.stderr)
    stamp.write_text(fingerprint(file))
    return folder


def demangled(names):
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    short = [re.sub(r"^void ", "", line) for line in text.splitlines()]
    return [re.sub(r"\(anonymous namespace\)::", "", s).split("(")[0].replace(" ", "") for s in short]


def measures(folder):
    """{(kernel, target): (registers, shared bytes, spilled and stack bytes)}"""
    found = {}
    for part in re.split(r"Compiling entry function ", (folder / "ptxas.txt").read_text())[1:]:
        name, target = re.match(r"'(\w+)' for 'sm_(\d+)'", part).groups()
        stack, stores, loads = re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part).groups()
        registers = re.search(r"Used (\d+) registers", part).group(1)
        shared = re.search(r"(\d+) bytes smem", part)
        found[name, int(target)] = (int(registers), int(shared.group(1)) if shared else 0,
                                    int(stack) + int(stores) + int(loads))
    return dict(zip(zip(demangled([n for n, _ in found]), [t for _, t in found]), found.values()))


def arithmetic(folder):
    """Instructions of the PTX that round otherwise than IEEE 754's to nearest, or in any order."""
    bad = set()
    for file in folder.glob("*.ptx"):
        for word in set(re.findall(r"^\s*(?:@!?%\w+\s+)?([a-z][a-z0-9_.]+)\s", file.read_text(), flags=re.M)):
            kind, *modifiers = word.split(".")
            if not {"f32", "f64", "f16", "bf16", "f32x2"} & set(modifiers):
                continue
            if kind in ROUNDED and "rn" not in modifiers or kind in APPROXIMATE or kind in ("atom", "red"):
                bad.add(word)
            if "ftz" in modifiers or "approx" in modifiers:
                bad.add(word)
    return sorted(f"{folder.name}: {word}" for word in bad)


def version():
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"release (\d+\.\d+)", text).group(1)


def read_budget():
    """The version of nvcc that it is for, and what each kernel may have."""
    lines = [line.split() for line in BUDGET.read_text().splitlines() if line and not line.startswith("#")]
    return lines[0][1], {name: tuple(int(n) for n in numbers) for name, *numbers in lines[1:]}


def write_budget(kernels):
    text = ["# Kernels as nvcc makes them, at most: registers for sm_89 and sm_90, bytes of static shared memory. Nothing",
            "# may spill or have a stack. A change here is looked at by whoever reviews it (budget.py --write). Other versions of",
            "# nvcc have other registers, which are not compared; spills are.",
            f"nvcc {version()}"]
    text += [f"{name} {' '.join(str(n) for n in numbers)}" for name, numbers in sorted(kernels.items())]
    BUDGET.write_text("\n".join(text) + "\n")


def main():
    failures, kernels = [], {}
    for file in sorted((source / "src").rglob("*.cu")):
        folder = compile_file(file)
        failures += [f"not correctly rounded: {a}" for a in arithmetic(folder)]
        found = measures(folder)
        for (name, target), (_, _, spilled) in found.items():
            if spilled > 0:
                failures.append(f"{name} for sm_{target}: {spilled} bytes of stack or spilled")
        for name in {name for name, _ in found}:
            kernels[name] = (*(found[name, t][0] for t in TARGETS), max(found[name, t][1] for t in TARGETS))
    if "--write" in sys.argv:
        write_budget(kernels)
    made_for, budget = read_budget()
    failures += [f"{name}: not in the budget" for name in sorted(kernels.keys() - budget.keys())]
    failures += [f"{name}: in the budget, but there is no such kernel" for name in sorted(budget.keys() - kernels.keys())]
    for name in sorted(kernels.keys() & budget.keys()) if version() == made_for else ():
        if any(has > most for has, most in zip(kernels[name], budget[name])):
            failures.append(f"{name}: {kernels[name]}, expected at most {budget[name]}")
    print("\n".join(failures) or f"{len(kernels)} kernels within their budget")
    sys.exit(len(failures) > 0)


main()
