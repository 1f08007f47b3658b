#!/usr/bin/env python3
"""cost.py SECONDS MEGABYTES COMMAND...: runs a command and judges its wall time and peak memory.

Its output is passed on; then one line, PASS or FAIL, with both figures. Peak memory is the resident
set's, as the system counts it (getrusage), MB being 1024*1024 bytes."""
import os
import resource
import subprocess
import sys
import time

seconds, megabytes, command = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
start = time.monotonic()
status = subprocess.run(command).returncode
took = time.monotonic() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
good = status == 0 and took < seconds and peak <= megabytes
print(f"{'PASS' if good else 'FAIL'} {os.path.basename(command[0])} {command[1]}: exit {status}, "
      f"{took:.1f} s (limit {seconds:g}), peak {peak:.0f} MB (limit {megabytes:g})")
sys.exit(0 if good else 1)
