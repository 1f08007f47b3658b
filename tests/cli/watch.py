#!/usr/bin/env python3
"""watch.py CRAYON MODEL VIDEO: the terminal view on a pseudo terminal of 100x40 and of 30x6; its end,
q, Ctrl-C and SIGTERM; what it leaves behind; a class name that is an escape sequence."""
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

crayon, model, video = sys.argv[1:]
LEAVE = b"\x1b[0m\x1b[?25h\x1b[?1049l"


def run(size=(40, 100), act=None, lang="C.UTF-8", more=(), env=()):
    """Screen bytes, exit status, were the settings restored. act(child, inner) once the screen shows."""
    try:
        out, inner = pty.openpty()
    except OSError as why:
        print("SKIP no terminal to be had:", why)
        sys.exit(0)
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    before = termios.tcgetattr(inner)
    settings = {**os.environ, "LC_ALL": lang, "TERM": "xterm", "COLORTERM": "truecolor", **dict(env)}
    child = subprocess.Popen([crayon, "watch", model, video, *more], stdin=inner, stdout=inner, stderr=inner,
                             env=settings, start_new_session=True,
                             preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    seen, acted, stop = b"", False, time.monotonic() + 60
    os.set_blocking(out, False)
    while time.monotonic() < stop:
        ended = child.poll() is not None
        try:
            while True:
                seen += os.read(out, 65536)
        except BlockingIOError:
            time.sleep(0.01)
        if act and not acted and b"latency of" in seen:
            act(child, out)
            acted = True
        if ended:
            break
    else:
        child.kill()
        print("FAULT: it did not end")
    same = termios.tcgetattr(inner) == before
    os.close(out)
    os.close(inner)
    return seen, child.returncode, same


def judge(name, result, code=0):
    seen, status, same = result
    faults = []
    if status != code:
        faults.append("exit %d" % status)
    if not same:
        faults.append("terminal settings changed")
    if seen.count(b"\x1b[?1049h") != 1 or seen.count(LEAVE) != 1:
        faults.append("screen not left once")
    print("%s: %s" % (name, ", ".join(faults) or "restored"))
    return seen


seen = judge("to the end", run())
print("plot, picture, counts:", "\u2880".encode()[:2] in seen, b"\x1b[38;2;" in seen and "\u2580".encode() in seen,
      b"\xe2\x96\x88" in seen, "summary:", b" frames in " in seen.split(LEAVE)[1])
rows = [s.split(b"\x1b[J")[0].count(b"\r\n") for s in seen.split(b"\x1b[H")[1:]]
print("fits:", max(rows) < 40)
seen = judge("small, ASCII", run(size=(6, 30), lang="C"))
rows = [s.split(b"\x1b[J")[0].count(b"\r\n") for s in seen.split(b"\x1b[H")[1:]]
print("fits:", max(rows) <= 6, "ASCII:", max(seen) < 128, "no colours:", b"\x1b[38;" not in seen)
seen = judge("256 colours", run(env={"COLORTERM": ""}.items()))
print("cube:", b"\x1b[38;5;" in seen and b"\x1b[38;2;" not in seen)
seen = judge("NO_COLOR", run(env={"NO_COLOR": "1"}.items()))
print("no colours:", b"\x1b[38;" not in seen)
judge("q", run(act=lambda child, out: os.write(out, b"xq")))
judge("Ctrl-C", run(act=lambda child, out: os.write(out, b"\x03")))
judge("SIGTERM", run(act=lambda child, out: child.send_signal(signal.SIGTERM)))
open("evil.txt", "w").write("\n".join(["\x1b[31mred\u009b31m\x07"] * 8))
seen = judge("hostile names", run(more=["--labels", "evil.txt", "--no-picture"]))
print("taken out:", b"?[31mred?31m?" in seen, b"\x1b[31m" not in seen and b"\x07" not in seen)
