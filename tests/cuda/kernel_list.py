"""Do the tests launch every kernel, in every way that a launcher does? Do the files keep to core/kernel_cuda.h, is every
activation among those of GPUs, and is every table there that is declared for them?

kernel_list.py SOURCE_FOLDER FILE: the names that the emulated GPU has left there (LOCKSTEP_EMULATED_KERNELS)."""

import pathlib
import re
import sys

source, names = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
# Launches go by LS_LAUNCH, shared memory by its macros, memory and copies by ls_device_*: nothing else can be recorded.
FORBIDDEN = r"<<<|extern\s+__shared__|\bcuda[A-Z]\w*\s*\(|\basm\b|__expf|__fdividef|atomicAdd\s*\(\s*\(?(float|double)"


# The host's side of a table begins work and neither waits nor allocates: but for what gives the host a number at once.
WAITS = r"\bls_device_(?:allocate|allocate_host|upload|download|finish|host|wait|read|words)\b"
GIVE_NUMBERS = {"src/core/vector_cuda.c": {"read", "words"}, "src/model/optimizers_cuda.c": {"read", "words"}}


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)


def arguments(text, begin):
    """The arguments of the call whose bracket has been opened before `begin`."""
    depth, start, found = 0, begin, []
    for i in range(begin, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
        if depth < 0 or (depth == 0 and text[i] == ","):
            found.append(text[start:i])
            start = i + 1
        if depth < 0:
            return found
    sys.exit("a call without an end")


def plain(name):
    return re.sub(r"\s", "", name)


def comes_to(launch, launched):
    """A launcher that a macro writes has the macro's parameter, `name`, where the launch has a class of optimizers."""
    if launch in launched:
        return True
    pattern = re.sub(r"\bname\b", r"\\w+", re.escape(launch))
    return "name" in launch and any(re.fullmatch(pattern, other) for other in launched)


def main():
    launched = {plain(line) for line in names.read_text().splitlines()}
    functions = {re.sub(r"\W.*", "", name.strip("(")) for name in launched}
    failures = []
    for file in sorted((source / "src").rglob("*.cu")):
        text = without_comments(file.read_text())
        kernels = re.findall(r"__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(", text)
        if len(kernels) != text.count("__global__"):
            failures.append(f"{file}: {text.count('__global__')} times __global__, but {len(kernels)} kernels")
        failures += [f"{file}: no test launches {k}" for k in kernels if k not in functions]
        launches = [plain(arguments(text, m.end())[1]) for m in re.finditer(r"\bLS_LAUNCH\(", text)]
        failures += [f"{file}: no test comes to the launch of {k}" for k in launches if not comes_to(k, launched)]
        failures += [f"{file}: {m.group(0)!r}" for m in re.finditer(FORBIDDEN, text)]
    tables = " ".join(file.read_text() for file in (source / "src").rglob("*_cuda.c"))
    for file in sorted((source / "src").rglob("*.h")):
        text = re.sub(r"#define.*(\\\n.*)*", "", without_comments(file.read_text()))
        failures += [f"{file}: expected {name}_cuda, which LS_KERNELS declares, in a *_cuda.c; LS_KERNELS_CPU is for a table "
                     f"that has none for GPUs" for name in re.findall(r"\bLS_KERNELS\(\s*\w+\s*,\s*(\w+)\s*\)", text)
                     if not re.search(rf"\b{name}_cuda\b", tables)]
    for file in sorted((source / "src").rglob("*_cuda.c")):
        name = str(file.relative_to(source))
        if name in ("src/core/device_cuda.c", "src/core/backend_cuda.c"):
            continue
        failures += [f"{name}: {call}" for call in re.findall(WAITS, without_comments(file.read_text()))
                     if call.removeprefix("ls_device_") not in GIVE_NUMBERS.get(name, ())]
    listed = (source / "src/layers/activations_cuda.h").read_text()
    failures += [f"{file}: expected in src/layers/activations_cuda.h, in the list and in a namespace"
                 for file in sorted((source / "src/layers/activations").glob("*.c")) if f"X({file.stem}," not in listed]
    print("\n".join(failures) or f"{len(launched)} launches, all known")
    sys.exit(len(failures) > 0)


main()
