"""Do gradients set out while earlier layers are still computed? overlap.py LOCKSTEP CONFIG WORK_FILE SETTINGS..

To be run by hosts.sh with the hosts a and b. In the timeline of every step each rank begins to sum the gradient before its
last backward piece, several times, and sums the rest behind it.
"""
import json
import subprocess
import sys

lockstep, config, trace, *settings = sys.argv[1:]
subprocess.run(["mpirun", "-H", "a:2,b:1", lockstep, "train", config, *settings, f"output={trace}.run", "overwrite=true",
                "progress=none", f"--trace={trace}", "--force"], check=True, stdout=subprocess.DEVNULL)
with open(trace, encoding="utf-8") as file:
    loaded = json.load(file)
events = loaded["traceEvents"] if isinstance(loaded, dict) else loaded
found = 0
for rank in range(3):
    spans = sorted((e["ts"], e["name"]) for e in events if e.get("ph") == "X" and e.get("pid") == rank)
    steps, names = [], None
    for _, name in spans:
        if name == "batch":  # a step begins
            names = []
            steps.append(names)
        if names is not None:
            names.append(name)
    assert len(steps) >= 2, f"rank {rank}: {len(steps)} steps"
    for names in steps:
        last = max(i for i, name in enumerate(names) if name.startswith("backward"))
        early = sum(name == "sum of the gradient" for name in names[:last])
        late = sum(name == "sum of the gradient" for name in names[last:])
        assert early >= 2 and late >= 1, f"rank {rank}: {early} before its last backward piece, {late} after it: {names}"
        found += early
print(f"{found} times parts of a gradient set out before the last backward piece")
