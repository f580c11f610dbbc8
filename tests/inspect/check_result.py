"""Compares `lockstep inspect --json` of a file of eval or attack with what the verb said: check_result.py JSON JSON"""
import json
import sys

with open(sys.argv[1]) as inspected, open(sys.argv[2]) as said:
    found, expected = json.load(inspected), json.load(said)
assert found["kind"] == ("attack" if "curve" in expected else "evaluation")
for key in "step", "fingerprint", "data_digest", "samples", "curve", "validation", "test":
    assert (key in found) == (key in expected), key
    assert found.get(key) == expected.get(key), (key, found.get(key), expected.get(key))
assert ("curve" in found and found["samples"] > 0) or found["test"]["samples"] > 0
