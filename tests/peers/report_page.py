#!/usr/bin/env python3
"""Reports in a real browser: report_page.py CRAYON MODEL [OUT]

Quantizes and evaluates the model on a few scenes with --report and opens both pages in headless Chromium
through chromedriver, at phone and desktop width, light and dark: nothing is wider than the page, every
section is there, the console is silent, tables sort, the graph zooms, moves and tells what a node is.
Screenshots go to OUT (a temporary folder). Prints PASS, FAIL or SKIP lines; exit 1 after a FAIL.
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from live_page import Browser  # noqa: E402

SECTIONS = {"quantize": "done pictures sqnr sensitivity ranges weights time graph",
            "eval": "done accuracy classes pictures sqnr sensitivity time weights graph",
            "classes": "done confusion classes pictures sqnr sensitivity time weights graph",
            "bench": "done time graph"}
VIEW = "return document.getElementById('net').getAttribute('viewBox').split(' ').map(Number)"
WIDER = """const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, svg') &&
  e.getBoundingClientRect().right > wide + 1).map(e => e.tagName + '.' + e.className).slice(0, 3).join(' ')"""
SORT = """const head = document.querySelector('#time thead tr').cells[2], body = document.querySelector('#time tbody');
head.click();
const up = [...body.rows].map(r => parseFloat(r.cells[2].textContent));
head.click();
const down = [...body.rows].map(r => parseFloat(r.cells[2].textContent));
return up.length > 3 && up.every((v, i) => !i || v >= up[i - 1]) && down.every((v, i) => !i || v <= down[i - 1])"""
DRAG = """const net = document.getElementById('net'), send = (kind, x, y) => net.dispatchEvent(new PointerEvent(kind,
  {pointerId: 7, clientX: x, clientY: y, bubbles: true}));
net.setPointerCapture = () => 0;
send('pointerdown', 100, 100); send('pointermove', 130, 160); send('pointerup', 130, 160); return 1"""
WHEEL = """document.getElementById('net').dispatchEvent(new WheelEvent('wheel',
  {deltaY: -400, clientX: 150, clientY: 150, cancelable: true})); return 1"""
CLICK = """document.getElementById('net').dispatchEvent(new PointerEvent('pointerdown', {pointerId: 8}));
document.querySelector('#net g:nth-of-type(2) text').dispatchEvent(new MouseEvent('click', {bubbles: true}));
const text = document.getElementById('about').textContent;
return /reads/.test(text) && text === document.querySelector('#net g.picked title').textContent"""


def try_zoom(browser, check):
    start = browser.script(VIEW)
    browser.script("document.querySelector('[data-zoom=in]').click(); return 1")
    near = browser.script(VIEW)
    check("+ comes closer", near[2] < start[2] and near[3] < start[3])
    browser.script(WHEEL)
    check("the wheel comes closer", browser.script(VIEW)[2] < near[2])
    before = browser.script(VIEW)
    browser.script(DRAG)
    after = browser.script(VIEW)
    check("dragging moves", after[0] < before[0] and after[1] < before[1] and after[2] == before[2])
    browser.script("document.querySelector('[data-zoom=all]').click(); return 1")
    x, y, w, h = browser.script(VIEW)
    width, height = browser.script("const d = document.getElementById('net').dataset; return [+d.w, +d.h]")
    check("all shows everything", x <= 1 and y <= 1 and x + w >= width - 1 and y + h >= height - 1)
    check("a click tells of a node", browser.script(CLICK))
    browser.script("window.dispatchEvent(new Event('resize')); return 1")


def try_report(kind, page, name, width, height, dark, out):
    browser = Browser(width, height, dark)
    faults = []

    def check(what, good):
        if not good:
            faults.append(what)

    try:
        browser.open("file://" + page)
        found = browser.script("return [...document.querySelectorAll('section')].map(s => s.id).join(' ')")
        check(f"sections are {SECTIONS[kind]}, not {found}", found == SECTIONS[kind])
        check("links lead to them", browser.script(
            "return [...document.querySelectorAll('nav a')].map(a => a.hash.slice(1)).join(' ')") == SECTIONS[kind])
        check("nothing is wider than the page", browser.script(
            "return document.documentElement.scrollWidth <= window.innerWidth"))
        check("no figure is cut", browser.script(
            "return [...document.querySelectorAll('.figure')].every(f => f.scrollWidth <= f.clientWidth)"))
        wider = browser.script(WIDER)
        check(f"elements end inside the page, but {wider}", not wider)
        check("pictures show", browser.script("return [...document.images].every(i => i.naturalWidth > 0)"))
        check("tables sort", browser.script(SORT))
        try_zoom(browser, check)
        ground = browser.script("return getComputedStyle(document.body).backgroundColor")
        check(f"{'dark' if dark else 'light'} ground, not {ground}",
              (sum(int(v) for v in ground[4:-1].split(",")) < 200) == dark)
        logs = [e["message"] for e in browser.call("POST", browser.session + "/se/log", {"type": "browser"})]
        check(f"the console is silent, but {logs[:1]}", not logs)
        tall = browser.script("return document.documentElement.scrollHeight")
        browser.call("POST", browser.session + "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": width, "height": min(tall, 12000), "deviceScaleFactor": 1, "mobile": False}})
        browser.screenshot(os.path.join(out, f"{kind}-{name}.png"))
        pdf = browser.call("POST", browser.session + "/print", {"background": True})
        check("it prints", len(pdf) > 20000)
        if name == "desktop-light":
            with open(os.path.join(out, f"{kind}.pdf"), "wb") as f:
                import base64
                f.write(base64.b64decode(pdf))
    finally:
        browser.close()
    print(f"{'FAIL' if faults else 'PASS'} report of {kind}, {name}", *faults[:1], sep=": " if faults else "")
    return not faults


def main():
    if not shutil.which("chromedriver") or not (shutil.which("chromium") or shutil.which("google-chrome")):
        print("SKIP reports: no chromedriver with chromium")
        return 0
    crayon, model = map(os.path.abspath, sys.argv[1:3])
    good = True
    with tempfile.TemporaryDirectory() as spare:
        out = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else spare
        os.makedirs(out, exist_ok=True)

        def run(*arguments):
            subprocess.run([crayon, *arguments], cwd=spare, check=True, stdout=subprocess.DEVNULL)

        run("synth", "scenes", "-n", "24", "--seed", "5")
        run("quantize", model, "-o", "q.onnx", "--images", "scenes/images", "--report", "quantize.html")
        run("eval", "q.onnx", "--images", "scenes/images", "--labels", "scenes/instances.json", "--against", model,
            "--report", "eval.html")
        classifier = os.path.join(os.path.dirname(model), "shapes-cls.onnx")
        run("synth", "classes", "-n", "40", "--seed", "5", "--task", "classify")
        run("quantize", classifier, "-o", "c.onnx", "--mode", "weights", "--weights", "int2")
        run("eval", "c.onnx", "--images", "classes", "--against", classifier, "--report", "classes.html")
        run("bench", "q.onnx", "--runs", "5", "--report", "bench.html")
        for kind in SECTIONS:
            for name, width, height, dark in (("desktop-light", 1280, 800, False), ("desktop-dark", 1280, 800, True),
                                              ("phone-light", 390, 844, False), ("phone-dark", 390, 844, True)):
                good &= try_report(kind, os.path.join(spare, kind + ".html"), name, width, height, dark, out)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
