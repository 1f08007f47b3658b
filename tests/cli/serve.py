"""Drives `crayon detect - --serve` as viewers would, and as nobody should: serve.py CRAYON MODEL JPEG...

Feeds the pictures as MJPEG on standard input, 25 a second, and prints a line per thing tried. Python's
standard library only."""
import http.client
import json
import socket
import subprocess
import sys
import threading
import time


class Run:
    """A server and who feeds it."""

    def __init__(self, crayon, model, pictures, *options):
        self.pictures = pictures
        self.process = subprocess.Popen([crayon, "detect", model, "-", "--serve", "127.0.0.1:0", *options],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.feeding = True
        self.feeder = threading.Thread(target=self.feed)
        self.feeder.start()
        line = self.process.stderr.readline().decode()
        self.port = int(line.rsplit(":", 1)[1].strip("/\n"))

    def feed(self):
        try:
            while self.feeding:
                for p in self.pictures:
                    self.process.stdin.write(p)
                    self.process.stdin.flush()
                    time.sleep(0.04)
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def end(self):
        self.feeding = False
        self.feeder.join()
        status = self.process.wait(timeout=60)
        left = self.process.stderr.read().decode()
        return f"exit {status}, {len(left)} more bytes of messages"

    def rate(self, seconds):
        """Frames a second, measured for so long."""
        before, start = self.frames(), time.time()
        time.sleep(seconds)
        return (self.frames() - before) / (time.time() - start)

    def request(self, method, path, body=None, headers=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, r.getheader("Content-Type"), data

    def raw(self, data):
        """The status line for bytes that are no proper request; '' if the connection was just closed."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            return s.recv(4096).split(b"\r\n")[0].decode("latin1")
        except OSError:
            return ""
        finally:
            s.close()

    def events(self, count):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request("GET", "/detections")
        r = c.getresponse()
        found = []
        while len(found) < count:
            line = r.readline()
            if line.startswith(b"data: "):
                found.append(json.loads(line[6:]))
        c.close()
        return found

    def frames(self):
        text = self.request("GET", "/metrics")[2].decode()
        return int(next(line for line in text.splitlines() if line.startswith("crayon_frames_total")).split()[1])


def main():
    crayon, model, pictures = sys.argv[1], sys.argv[2], [open(p, "rb").read() for p in sys.argv[3:]]
    run = Run(crayon, model, pictures)
    status, kind, page = run.request("GET", "/")
    print("page", status, kind, b"</html>" in page, b"id=\"conf\"" in page)
    state = json.loads(run.request("GET", "/state")[2])
    print("state", state["conf"], state["iou"], state["classes"], state["names"])
    status, kind, picture = run.request("GET", "/snapshot")
    print("snapshot", status, kind, picture[:2] == b"\xff\xd8", picture[-2:] == b"\xff\xd9")

    c = http.client.HTTPConnection("127.0.0.1", run.port, timeout=30)
    c.request("GET", "/stream")
    r = c.getresponse()
    parts = 0
    while parts < 3:
        line = r.readline()
        if line == b"--frame\r\n":
            r.readline()
            size = int(r.readline().split(b":")[1])
            r.readline()
            jpeg = r.read(size)
            parts += jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9"
    print("stream", r.status, r.getheader("Content-Type"), parts)
    c.close()

    first = run.events(len(pictures))
    print("events", sorted(first[0]), any(e["detections"] for e in first))
    print("settings", run.request("POST", "/settings", '{"conf": 0.999}')[0])
    time.sleep(0.5)
    print("nothing is that sure", not any(e["detections"] for e in run.events(len(pictures))))
    print("settings", run.request("POST", "/settings", '{"conf": 0.25, "classes": [1]}')[0])
    time.sleep(0.5)
    print("one class", {d["class"] for e in run.events(2 * len(pictures)) for d in e["detections"]})
    print("settings", json.loads(run.request("POST", "/settings", '{"classes": null}')[2])["classes"])

    for what, method, path, body, headers in (
            ("no such page", "GET", "/../../etc/passwd", None, {}),
            ("coded path", "GET", "/%2e%2e/%2e%2e/etc/passwd", None, {}),
            ("no such side", "GET", "/stream?side=versus", None, {}),
            ("wrong method", "DELETE", "/", None, {}),
            ("post elsewhere", "POST", "/state", "{}", {}),
            ("not JSON", "POST", "/settings", "conf=1", {}),
            ("no object", "POST", "/settings", "[1]", {}),
            ("out of range", "POST", "/settings", '{"conf": 2}', {}),
            ("no such class", "POST", "/settings", '{"classes": [99]}', {}),
            ("class of text", "POST", "/settings", '{"classes": ["a"]}', {}),
            ("no class at all", "POST", "/settings", '{"classes": []}', {}),
            ("deep", "POST", "/settings", "[" * 4000, {}),
            ("too long", "POST", "/settings", " " * 5000, {}),
            ("another page's", "POST", "/settings", "{}", {"Origin": "http://evil.example"}),
            ("another name", "GET", "/", None, {"Host": "evil.example"})):
        print(what, run.request(method, path, body, headers)[0])
    print("conf kept", json.loads(run.request("GET", "/state")[2])["conf"])
    for what, data in (("garbage", b"\x00\xff\x13garbage\r\n\r\n"), ("no version", b"GET /\r\n\r\n"),
                       ("huge header", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200000 + b"\r\n\r\n"),
                       ("wrong length", b"POST /settings HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n")):
        line = run.raw(data)
        print(what, "refused" if not line or line.split()[1][0] == "4" else line)

    alone = run.rate(2)
    slow = []
    for _ in range(20):
        s = socket.create_connection(("127.0.0.1", run.port), timeout=30)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        slow.append(s)
    print("20 viewers who do not read: more than half of the frames still come", run.rate(2) > alone / 2)
    for s in slow:
        s.close()
    many = []
    for _ in range(300):
        try:
            many.append(socket.create_connection(("127.0.0.1", run.port), timeout=5))
        except OSError:
            break
    for s in many:
        s.close()
    time.sleep(0.3)
    print("after hundreds of connections", run.request("GET", "/state")[0])
    print(run.end())

    run = Run(crayon, model, pictures, "--token", "secret")
    print("no token", run.request("GET", "/")[0], run.request("GET", "/stream")[0])
    print("wrong token", run.request("GET", "/?token=secreT")[0], run.request("GET", "/?token=")[0])
    print("token", run.request("GET", "/?token=secret")[0],
          run.request("GET", "/state", None, {"Authorization": "Bearer secret"})[0])
    print(run.end())


if __name__ == "__main__":
    main()
