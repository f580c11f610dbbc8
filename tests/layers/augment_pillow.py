"""Compares the augmentation with Pillow itself, byte for byte. Usage: augment_pillow.py AUGMENT_TOOL [CASES]

Skipped (exit 77) where Pillow or numpy is not installed.
"""
import struct
import subprocess
import sys

try:
    import numpy as np
    from PIL import Image, ImageEnhance
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

SIZES = [(28, 28)] * 12 + [(32, 32), (1, 1), (2, 3), (5, 1), (1, 7), (17, 40), (64, 33), (8, 8)]
BICUBIC = getattr(Image, "Resampling", Image).BICUBIC


def random_image(random, height, width):
    kind = random.integers(5)
    if kind == 0:
        image = random.integers(0, 256, (height, width))
    elif kind == 1:  # strokes on black, as digits are
        y, x = np.mgrid[0:height, 0:width]
        distance = np.hypot(x - width * random.random(), y - height * random.random())
        image = np.clip(400 - 150 * np.abs(distance - random.random() * width / 2), 0, 255)
    elif kind == 2:  # edges that make the filter overshoot
        image = 255 * random.integers(0, 2, (height, width))
    elif kind == 3:
        image = np.full((height, width), random.integers(0, 256))
    else:
        image = random.integers(0, 256, (height, width)) * (random.random((height, width)) < 0.2)
    return image.astype(np.uint8)


def random_angle(random):
    kind = random.integers(8)
    if kind == 0:
        return float(random.integers(-8, 9) * 45)
    if kind == 1:
        return random.uniform(-1000, 1000)
    if kind == 2:
        return random.uniform(-1, 1) * 10.0 ** -random.integers(0, 18)
    return random.uniform(-45, 45)


def random_factor(random):
    kind = random.integers(8)
    if kind == 0:
        return float(random.integers(-1, 4)) / 2
    if kind == 1:
        return random.uniform(-1, 3)
    return random.uniform(0.8, 1.2)


def by_pillow(image, degrees, brightness, contrast):
    source = Image.fromarray(image)
    rotated = source.rotate(degrees, resample=BICUBIC, expand=False, fillcolor=0)
    results = [
        rotated,
        ImageEnhance.Brightness(source).enhance(brightness),
        ImageEnhance.Contrast(source).enhance(contrast),
        ImageEnhance.Contrast(ImageEnhance.Brightness(rotated).enhance(brightness)).enhance(contrast),
    ]
    return [np.asarray(result).astype(int) for result in results]


def main():
    tool, cases = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    random = np.random.default_rng(20240601)
    request, expected = [], []
    for case in range(cases):
        height, width = SIZES[case % len(SIZES)]
        image = random_image(random, height, width)
        degrees, brightness, contrast = random_angle(random), random_factor(random), random_factor(random)
        request.append(struct.pack("=iiddd", height, width, degrees, brightness, contrast) + image.tobytes())
        expected.append((degrees, brightness, contrast, by_pillow(image, degrees, brightness, contrast)))
    answer = subprocess.run([tool], input=b"".join(request), stdout=subprocess.PIPE, check=True).stdout

    names, at = ["rotate", "brightness", "contrast", "all three"], 0
    pixels, wrong = [0] * 4, [0] * 4
    for case, (degrees, brightness, contrast, results) in enumerate(expected):
        for which, result in enumerate(results):
            got = np.frombuffer(answer, np.uint8, result.size, at).reshape(result.shape).astype(int)
            at += result.size
            differing = int(np.count_nonzero(got != result))
            if differing and wrong[which] < 20:
                print(
                    f"case {case}, {names[which]}, image {result.shape}, {degrees!r} degrees, "
                    f"brightness {brightness!r}, contrast {contrast!r}: {differing} pixels differ, "
                    f"by up to {abs(got - result).max()}"
                )
            pixels[which] += result.size
            wrong[which] += differing
    for name, n, bad in zip(names, pixels, wrong):
        print(f"{name}: {bad} of {n} pixels differ from Pillow {Image.__version__}")
    return 1 if any(wrong) or at != len(answer) else 0


if __name__ == "__main__":
    sys.exit(main())
