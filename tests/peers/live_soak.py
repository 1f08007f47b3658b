#!/usr/bin/env python3
"""Long runs of the live pipeline, by hand: live_soak.py [CRAYON] [--frames N] [--losses N] [--viewers N] [--only PART]

  frames   N raw frames (200000) on standard input through `crayon detect --track --json -`: every frame comes out,
           and the memory of the process at 10 % and at 99 % differs by no more than 2 MB
  losses   a camera (an HTTP server here that sends MJPEG) that closes the connection N times (50): the run
           survives each, and memory does not grow from the 5th to the last
  viewers  N viewers (20) that read a kilobyte a second from /stream: frames per second stay within 10 %

Python's standard library and Linux' /proc. Prints a line per part; exit 1 if one failed."""
import argparse
import http.server
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
WIDTH, HEIGHT = 96, 64
MOST_GROWTH_MB = 2.0


def resident_mb(pid):
    """Memory that is in use: private pages, without files mapped in."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"RssAnon:\s+(\d+)", f.read())[1]) / 1024


def raw_frames(count):
    """Grey noise bands that move: something changes in every frame, nothing repeats soon."""
    size = WIDTH * HEIGHT * 3 // 2
    noise = os.urandom(1 << 16)
    for i in range(count):
        at = i * 97 % ((1 << 16) - size)
        yield noise[at:at + size]


def soak_frames(crayon, model, count):
    with tempfile.TemporaryFile() as log:
        run = subprocess.Popen([crayon, "detect", model, "-", "--raw", f"{WIDTH}x{HEIGHT}:yuv420p", "--track",
                                "--conf", "0.05", "--json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        seen = []  # (frame, megabytes)

        def read():
            for line in run.stdout:
                frame = int(re.search(rb'"frame": (\d+)', line)[1])
                if frame % max(1, count // 100) == 0 and frame < count * 0.995:  # not while it shuts down
                    seen.append((frame, resident_mb(run.pid)))
                last[0] = frame + 1

        last = [0]
        start = time.monotonic()
        reader = threading.Thread(target=read)
        reader.start()
        for frame in raw_frames(count):
            run.stdin.write(frame)
        run.stdin.close()
        reader.join()
        status = run.wait()
        at_tenth = next(mb for frame, mb in seen if frame >= count // 10)
        growth = seen[-1][1] - at_tenth
        took = time.monotonic() - start
        good = status == 0 and last[0] == count and abs(growth) <= MOST_GROWTH_MB
        print(f"{'PASS' if good else 'FAIL'} frames: {last[0]} of {count} in {took:.0f} s ({last[0] / took:.0f} a second), "
              f"memory {at_tenth:.1f} MB at 10 %, {seen[-1][1]:.1f} MB at 99 % ({growth:+.2f}), exit {status}", flush=True)
        return good


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends a few frames and closes the connection."""
    pictures, served = [], 0
    frames = 12

    def do_GET(self):
        Camera.served += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for i in range(self.frames):
                p = self.pictures[i % len(self.pictures)]
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(p) + p + b"\r\n")
                time.sleep(0.02)
        except OSError:
            pass

    def log_message(self, *args):
        pass


def soak_losses(crayon, model, pictures, losses):
    Camera.pictures, Camera.served = pictures, 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    run = subprocess.Popen([crayon, "detect", model, f"http://127.0.0.1:{server.server_port}/cam.mjpg", "--losses", str(losses)],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    memory = {}
    while run.poll() is None:
        try:
            memory[Camera.served] = resident_mb(run.pid)
        except (OSError, TypeError):
            pass
        time.sleep(0.05)
    text = run.stdout.read().decode()
    server.shutdown()
    survived = re.search(r"lost (\d+) times", text)
    counts = sorted(memory)
    growth = memory[counts[-1]] - memory[next(c for c in counts if c >= min(5, counts[-1]))]
    good = Camera.served == losses + 1 and survived and int(survived[1]) == losses and growth <= MOST_GROWTH_MB
    print(f"{'PASS' if good else 'FAIL'} losses: {Camera.served} connections, {text.strip()!r}, memory from the 5th on {growth:+.2f} MB",
          flush=True)
    return good


def metric(port, name):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    return float(re.search(rf"^{name} (\S+)", text, re.M)[1])


def slow_viewer(port, stop):
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while not stop.is_set() and s.recv(1024):
        stop.wait(1)
    s.close()


def rate_over(port, seconds):
    before, start = metric(port, "crayon_frames_total"), time.monotonic()
    time.sleep(seconds)
    return (metric(port, "crayon_frames_total") - before) / (time.monotonic() - start)


def soak_viewers(crayon, model, viewers, seconds=15):
    run = subprocess.Popen([crayon, "detect", model, "-", "--raw", f"{WIDTH}x{HEIGHT}:yuv420p@30", "--serve", "127.0.0.1:0"],
                           stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def feed():
        try:
            for frame in raw_frames(1 << 30):
                run.stdin.write(frame)
        except (BrokenPipeError, ValueError):
            pass

    threading.Thread(target=feed, daemon=True).start()
    port = int(run.stderr.readline().decode().rsplit(":", 1)[1].strip("/\n"))
    stop = threading.Event()
    time.sleep(2)
    alone = rate_over(port, seconds)
    crowd = [threading.Thread(target=slow_viewer, args=(port, stop), daemon=True) for _ in range(viewers)]
    for t in crowd:
        t.start()
    time.sleep(2)
    watched = rate_over(port, seconds)
    stop.set()
    run.send_signal(2)
    status = run.wait(timeout=30)
    good = watched >= 0.9 * alone and status == 0
    print(f"{'PASS' if good else 'FAIL'} viewers: {alone:.1f} frames a second alone, {watched:.1f} with {viewers} slow ones, exit {status}",
          flush=True)
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("crayon", nargs="?", default=os.path.join(TOP, "build", "crayon"))
    p.add_argument("--model", default=os.path.join(TOP, "sample", "shapes.onnx"))
    p.add_argument("--frames", type=int, default=200000)
    p.add_argument("--losses", type=int, default=50)
    p.add_argument("--viewers", type=int, default=20)
    p.add_argument("--only", choices=["frames", "losses", "viewers"])
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([a.crayon, "synth", os.path.join(folder, "s"), "-n", "8", "--seed", "5", "--size", "160x128"],
                       check=True, stdout=subprocess.DEVNULL)
        images = os.path.join(folder, "s", "images")
        pictures = [open(os.path.join(images, n), "rb").read() for n in sorted(os.listdir(images))]
    parts = {"losses": lambda: soak_losses(a.crayon, a.model, pictures, a.losses),
             "viewers": lambda: soak_viewers(a.crayon, a.model, a.viewers),
             "frames": lambda: soak_frames(a.crayon, a.model, a.frames)}
    results = [run() for name, run in parts.items() if a.only in (None, name)]
    sys.exit(0 if all(results) else 1)


main()
