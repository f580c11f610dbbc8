"""How far all cells are: one bar on a terminal, by tqdm where it is installed; lines otherwise."""

import sys
import threading
import time

import grid

try:
    from tqdm import tqdm
except ImportError:
    tqdm = None


class Progress:
    """Counts epochs, each as part of its cell. As a context it closes the bar."""

    def __init__(self, cells):
        self.count, self.finished, self.bad = len(cells), 0, 0
        self.part, self.rate, self.lock = {}, {}, threading.Lock()
        self.begun = time.monotonic()
        self.bar = tqdm(total=len(cells), unit="cell", bar_format="{desc} |{bar}| {n:.1f}/{total} cells, ETA {remaining}",
                        file=sys.stderr) if tqdm and sys.stderr.isatty() else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()

    def images_per_second(self):
        return sum(self.rate.values())

    def advance(self, cell, part):
        """part: of the cell, 0 to 1, that is done. The bar moves by what is new."""
        step = part - self.part.get(grid.label(cell), 0.0)
        self.part[grid.label(cell)] = part
        if self.bar is not None:
            self.bar.set_description_str(f"{self.finished} done, {self.bad} failed, {self.images_per_second()} images/s")
            self.bar.update(step)

    def say(self, text):
        """A line; without a bar with the time that is left."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stdout)
            return
        done = sum(self.part.values())
        left = (time.monotonic() - self.begun) * (self.count - done) / done if done else 0
        print(f"{text} ({self.finished + self.bad}/{self.count} cells, {self.images_per_second()} images/s, "
              f"ETA {int(left // 3600):02}:{int(left // 60 % 60):02}:{int(left % 60):02})", flush=True)

    def begin(self, cell):
        with self.lock:
            self.advance(cell, 0.0)

    def epoch(self, cell, epoch, epochs, images_per_second):
        with self.lock:
            self.rate[grid.label(cell)] = images_per_second
            self.advance(cell, epoch / epochs)

    def end(self, cell, text):
        self.rate.pop(grid.label(cell), None)
        self.advance(cell, 1.0)
        self.say(text)

    def done(self, cell, note=""):
        with self.lock:
            self.finished += 1
            self.end(cell, f"{grid.label(cell)}: {note or 'done'}")

    def failed(self, cell, error):
        with self.lock:
            self.bad += 1
            self.end(cell, f"{grid.label(cell)}: FAILED: {error}")
