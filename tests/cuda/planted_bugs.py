"""Do the tests of kernels find what they are for? Plants bugs in copies of kernel files, builds the test with each, on
the emulated GPU, and expects it to fail.

planted_bugs.py SOURCE_FOLDER BUILD_FOLDER"""

import json
import pathlib
import shlex
import subprocess
import sys

source, build = (pathlib.Path(a).resolve() for a in sys.argv[1:3])
BARRIER = "__syncthreads();"

# test, file in src/layers, what is planted, the text that goes, the text that comes; the first such text of the file
BUGS = [
    ("test_dense_cuda", "dense/dense_cuda.cu", "missing barrier before a stage is multiplied",
     f"{BARRIER}\n        multiply_stage", "multiply_stage"),
    ("test_dense_cuda", "dense/dense_cuda.cu", "shared memory that is not written",
     "s.x[n][j] = input_of", "if (j % 32 != 31) s.x[n][j] = input_of"),
    ("test_dense_cuda", "dense/dense_cuda.cu", "a column too many",
     "column + c + n >= d.outputs) continue", "column + c + n > d.outputs) continue"),
    ("test_conv2d_cuda", "conv2d/conv2d_winograd_cuda.cu", "missing barrier before tiles are multiplied",
     f"{BARRIER}\n        if (!exists) continue;", "if (!exists) continue;"),
    ("test_conv2d_cuda", "conv2d/conv2d_cuda.cu", "a pixel beside the image",
     "w >= 0 && w < p.from_width", "w >= 0 && w <= p.from_width"),
    ("test_conv2d_cuda", "conv2d/conv2d_cuda.cu", "four floats at once where they are not aligned",
     "terms % 4 ? terms : terms + 4", "terms % 4 ? terms : terms + 1"),
    ("test_conv2d_cuda", "conv2d/conv2d_weights_cuda.cu", "missing barrier before the next strip is staged",
     f"{BARRIER}\n            for (int i = threadIdx.x; i < high", "for (int i = threadIdx.x; i < high"),
    ("test_conv2d_cuda", "conv2d/conv2d_winograd_weights_cuda.cu", "a tile of the next shard",
     "i < here; i++, a += BLOCK", "i <= here; i++, a += BLOCK"),
    ("test_conv2d_tensor_cuda", "conv2d/conv2d_tensor_cuda.cu", "missing barrier before a strip is multiplied",
     f"{BARRIER}\n            multiply_strip", "multiply_strip"),
    ("test_conv2d_tensor_cuda", "conv2d/conv2d_tensor_cuda.cu", "missing barrier before what is stored is added",
     f"{BARRIER}\n            add_strip", "add_strip"),
    ("test_conv2d_tensor_cuda", "conv2d/conv2d_tensor_gradient_cuda.cu", "missing barrier before the splits are added",
     f"{BARRIER}\n        if (mine.split == 0)", "if (mine.split == 0)"),
    ("test_conv2d_tensor_cuda", "conv2d/conv2d_tensor_gradient_cuda.cu", "a pixel of the next line beside the last",
     "return q < pixels ? dy", "return q <= pixels ? dy"),
    ("test_elementwise_cuda", "elementwise_cuda.cu", "sums before all has been stored",
     f"{BARRIER}\n        if (s.sums.sums)", "if (s.sums.sums)"),
    ("test_elementwise_cuda", "batchnorm/batchnorm_cuda.cu", "missing barrier before lines are added",
     f"{BARRIER}\n            if (w < 2)", "if (w < 2)"),
    ("test_elementwise_cuda", "elementwise_cuda.cu", "an element too many",
     "element < (length)", "element <= (length)"),
    ("test_layers_cuda", "softmax_cross_entropy/softmax_cross_entropy_cuda.cu", "a mask without its own lane",
     "largest = __shfl_sync(ALL_LANES,", "largest = __shfl_sync(0xfffffffeu,"),
    ("test_layers_cuda", "softmax_cross_entropy/softmax_cross_entropy_cuda.cu", "missing barrier of a warp",
     "__syncwarp(ALL_LANES);\n    if (lane == 0)", "if (lane == 0)"),
    ("test_layers_cuda", "instance_norm/instance_norm_cuda.cu", "a barrier that part of the block comes to",
     f"part[1][t] = of_row.sum;\n            }}\n            {BARRIER}",
     f"part[1][t] = of_row.sum;\n            {BARRIER}\n            }}"),
]


def run(command):
    return subprocess.run(command, shell=True, cwd=build, capture_output=True, text=True, check=False)


def expect(command):
    result = run(command)
    if result.returncode != 0:
        sys.exit(f"{command}\n{result.stdout}{result.stderr}")
    return result.stdout


def arguments_with(words, flag, value):
    words[words.index(flag) + 1] = str(value)
    return words


def build_with(test, file, text, folder):
    """The test with that text in place of the file."""
    link = shlex.split(expect(f"ninja -t commands -s tests/cuda/{test}").strip().removeprefix(": && ").removesuffix(" && :"))
    compiled = (shlex.split(c["command"]) for c in json.loads((build / "compile_commands.json").read_text())
                if c["file"] == str(file))
    words = next(w for w in compiled if w[w.index("-o") + 1] in link)
    copy, obj, program = folder / file.name, folder / "planted.o", folder / test
    copy.write_text(text)
    old = words[words.index("-o") + 1]
    words = [w for w in arguments_with(arguments_with(words, "-o", obj), "-c", copy) if w != "--coverage"]
    expect(shlex.join(words))
    link = [str(obj) if w == old else w for w in link]
    expect(shlex.join(arguments_with(link, "-o", program)))
    return program


def main():
    folder = build / "tests" / "cuda" / "planted"
    folder.mkdir(parents=True, exist_ok=True)
    missed = 0
    for test, name, what, old, new in BUGS:
        file = source / "src" / "layers" / name
        text = file.read_text()
        if old not in text:
            sys.exit(f"{name}: nothing to plant '{what}' in: {old!r}")
        program = build_with(test, file, text.replace(old, new, 1), folder)
        found = run(shlex.quote(str(program))).returncode != 0
        missed += not found
        print(f"{'found ' if found else 'MISSED'}  {name}: {what}", flush=True)
    sys.exit(missed > 0)


main()
