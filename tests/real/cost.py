#!/usr/bin/env python3
"""cost.py SECONDS MEGABYTES COMMAND...: runs a command, judges its peak memory, reports its time.

Its output is passed on; then one line, PASS or FAIL, with both figures. Peak memory is the resident
set's, as the system counts it (getrusage), MB being 1024*1024 bytes. Time depends on what else the
machine does, so it is a benchmark, not a verdict: processor seconds, which do not, stand beside it.
"""
import os
import resource
import subprocess
import sys
import time

seconds, megabytes, command = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
start = time.monotonic()
status = subprocess.run(command).returncode
took = time.monotonic() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
peak = used.ru_maxrss / 1024
good = status == 0 and peak <= megabytes
print(f"{'PASS' if good else 'FAIL'} {os.path.basename(command[0])} {command[1]}: exit {status}, "
      f"peak {peak:.0f} MB (limit {megabytes:g}); {took:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of "
      f"processor time (wanted: under {seconds:g} s{'' if took < seconds else ', NOT REACHED in this run'})")
sys.exit(0 if good else 1)
