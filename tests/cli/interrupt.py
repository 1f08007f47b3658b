#!/usr/bin/env python3
"""interrupt.py COMMAND...: runs a command on a terminal until its progress bar shows, then as a
pipe for the same time; interrupts it both times and says what it printed."""
import os
import pty
import re
import signal
import subprocess
import sys
import time

command = sys.argv[1:]
try:
    out, inner = pty.openpty()
except OSError as why:
    print("SKIP no terminal to be had:", why)
    sys.exit(0)
start = time.monotonic()
child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=inner, stdin=inner)
os.close(inner)
seen = b""
sent = False
while True:
    try:
        data = os.read(out, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
    if not sent and re.search(rb"\[[#.]+\] \d+/\d+  [\d.]+/s  ETA \d+ s", seen):
        child.send_signal(signal.SIGINT)
        sent = True
print("bar seen" if sent else "no bar", "exit", child.wait())
print(seen.decode().replace("\r", "\n").split("\n\x1b[K")[-1].strip())
took = time.monotonic() - start

child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
time.sleep(took)
child.send_signal(signal.SIGINT)
text, message = child.communicate()
print("pipe: exit", child.returncode, text, message.decode().strip())
