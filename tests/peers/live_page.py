#!/usr/bin/env python3
"""The live page in a real browser: live_page.py CRAYON MODEL FOLDER-OF-JPEG [OUT]

Serves the pictures (all of one size) with `crayon detect - --serve --versus`, opens the page in headless
Chromium through chromedriver (WebDriver over HTTP, nothing to install but Debian's chromium and
chromium-driver), moves the confidence slider, clicks a class away, and sees the figures change. At phone
and desktop width, light and dark; screenshots go to OUT (a temporary folder). Prints PASS, FAIL or SKIP
lines; exit 1 after a FAIL.
"""
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from serve import Run  # noqa: E402


class Browser:
    def __init__(self, width, height, dark):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     f"--window-size={width},{height}"] + (["--force-dark-mode"] if dark else [])
        wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {
            "args": arguments, "mobileEmulation": {"deviceMetrics": {
                "width": width, "height": height, "pixelRatio": 1.0}}}}}}
        for _ in range(100):
            try:
                answer = self.call("POST", "/session", wanted)
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        else:
            raise RuntimeError("chromedriver does not answer")
        self.session = "/session/" + answer["sessionId"]

    def call(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as r:
            return json.loads(r.read())["value"]

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def script(self, text):
        return self.call("POST", self.session + "/execute/sync", {"script": text, "args": []})

    def until(self, text, seconds=30):
        """Does the script's value become true in time?"""
        end = time.time() + seconds
        while time.time() < end:
            if self.script(text):
                return True
            time.sleep(0.1)
        return False

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("GET", self.session + "/screenshot")))

    def close(self):
        try:
            self.call("DELETE", self.session)
        finally:
            self.driver.terminate()
            self.driver.wait()


COUNT = "return +document.getElementById('count').textContent"


def try_page(run, name, width, height, dark, out):
    browser = Browser(width, height, dark)
    faults = []

    def check(what, good):
        if not good:
            faults.append(what)

    try:
        browser.open(f"http://127.0.0.1:{run.port}/")
        check("objects are counted", browser.until(COUNT + " > 0"))
        check("both pictures show", browser.until(
            "return ['live', 'versus'].every(id => document.getElementById(id).naturalWidth > 0)"))
        check("classes are listed", browser.script("return document.querySelectorAll('#classes label').length > 0"))
        check("nothing is wider than the page", browser.script(
            "return document.documentElement.scrollWidth <= window.innerWidth"))
        time.sleep(1)
        browser.screenshot(os.path.join(out, name + ".png"))
        slide = ("const s = document.getElementById('conf'); s.value = %s;"
                 "s.dispatchEvent(new Event('input')); return true")
        browser.script(slide % "0.99")
        check("a high threshold leaves nothing", browser.until(COUNT + " === 0"))
        browser.script(slide % "0.25")
        check("a lower one brings it back", browser.until(COUNT + " > 0"))
        browser.script("document.querySelectorAll('#classes input').forEach((t, i) => "
                       "{ if (i) { t.checked = false; t.onchange(); } }); return true")
        check("one class is left", browser.until(
            "return [...document.querySelectorAll('#classes b')].slice(1).every(b => b.textContent === '')"))
        browser.script("document.getElementById('all').click(); return true")
        ground = browser.script("return getComputedStyle(document.body).backgroundColor")
        check(f"{'dark' if dark else 'light'} ground, not {ground}",
              (sum(int(v) for v in ground[4:-1].split(",")) < 200) == dark)
    finally:
        browser.close()
    print(f"{'FAIL' if faults else 'PASS'} live page, {name}", *faults[:1], sep=": " if faults else "")
    return not faults


def main():
    if not shutil.which("chromedriver") or not (shutil.which("chromium") or shutil.which("google-chrome")):
        print("SKIP live page: no chromedriver with chromium")
        return 0
    crayon, model, folder = sys.argv[1:4]
    pictures = [open(os.path.join(folder, n), "rb").read() for n in sorted(os.listdir(folder))]
    good = True
    with tempfile.TemporaryDirectory() as spare:
        out = sys.argv[4] if len(sys.argv) > 4 else spare
        os.makedirs(out, exist_ok=True)
        run = Run(crayon, model, pictures, "--versus", model)
        for name, width, height, dark in (("desktop-light", 1280, 800, False), ("desktop-dark", 1280, 800, True),
                                          ("phone-light", 390, 844, False), ("phone-dark", 390, 844, True)):
            good &= try_page(run, name, width, height, dark, out)
        run.end()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
