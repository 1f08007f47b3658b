#!/usr/bin/env python3
"""flip_bits.py CRAYON MODEL N: flips one bit of a model at a time and inspects it.

Most of a file is weights, where a flipped bit is no damage that anyone could see; the first and
last bytes are structure. So half of the positions lie in the last 20000 bytes and in the first
200. Each run has to end with 0, or with 1 and one line. Some have to fail, else nothing was tried.
"""
import random
import subprocess
import sys

program, model, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
data = open(model, "rb").read()
rng = random.Random(1)
refused = 0
for i in range(count):
    where = rng.choice([rng.randrange(200), len(data) - 1 - rng.randrange(20000),
                        rng.randrange(len(data)), rng.randrange(len(data))])
    bit = rng.randrange(8)
    flipped = bytearray(data)
    flipped[where] ^= 1 << bit
    with open("flipped.onnx", "wb") as f:
        f.write(flipped)
    run = subprocess.run([program, "inspect", "flipped.onnx"], capture_output=True)
    lines = run.stderr.count(b"\n")
    if (run.returncode, lines) not in ((0, 0), (1, 1)):
        print(f"byte {where} bit {bit}: exit {run.returncode}, {lines} lines: {run.stderr!r}")
    refused += run.returncode == 1
print("some refused" if refused else "none refused: nothing was tried")
