"""From the race's results to tables: the saved file, README's table, the goals' report."""
import os

from models import MODELS, SAME

PRECISIONS = ("float32", "bf16", "int8")
TITLES = {"yolov8n": "yolov8n 640", "yolox_nano": "yolox_nano 416"}
MARKS = ("<!-- bench -->", "<!-- /bench -->")
STAGES = ("decode_ms", "letterbox_ms", "normalise_ms", "run_ms", "head_ms", "total_ms")


def rows_of(jobs, section, model, threads, batch=1):
    wanted = (section, model, threads, batch)
    return [j for j in jobs if (j.section, j.model, j.threads, j.batch) == wanted]


def number(value, digits=2):
    return "" if value is None else f"{value:.{digits}f}"


def fastest(rows, precision, own, key="median_ms"):
    """The row with the least `key`, or None. A peer whose output is not the picture's any more (see
    models.SAME) still counts: its speed would not change if it were."""
    found = [j for j in rows if j.precision == precision and j.own == own and j.median(key) is not None]
    return min(found, key=lambda j: j.median(key), default=None)


# ---- tables ----

def reasons(rows):
    """Who is not in the table and why, one line each."""
    return [f"- {j.label}{'' if j.own else ' ' + j.precision}: {j.why}" for j in rows
            if not j.results]


def race_table(rows):
    lines = ["| runtime | precision | ms | fastest run | ratio to Crayon | cosine |",
             "|---|---|---|---|---|---|"]
    for precision in PRECISIONS:
        own = fastest(rows, precision, True)
        mine = [j for j in rows if j.precision == precision and j.results]
        for j in sorted(mine, key=lambda j: j.median("median_ms")):
            ratio = number(j.median("median_ms") / own.median("median_ms")) if own else ""
            name = f"**{j.label}**" if j.own else j.label
            lines.append(f"| {name} | {precision} | {number(j.median('median_ms'))} | "
                         f"{number(min(r['min_ms'] for r in j.results))} | {ratio} | "
                         f"{number(j.median('cosine'), 4)} |")
    return lines


def start_table(rows):
    lines = ["| runtime | precision | load to first result, ms | memory, MB |", "|---|---|---|---|"]
    for precision in PRECISIONS:
        mine = [j for j in rows if j.precision == precision and j.results]
        for j in sorted(mine, key=lambda j: j.median("memory_mb")):
            name = f"**{j.label}**" if j.own else j.label
            lines.append(f"| {name} | {precision} | {number(j.median('first_ms'), 0)} | "
                         f"{number(j.median('memory_mb'), 1)} |")
    return lines


def scaling_table(jobs, model, threads):
    lines = [f"| runtime | precision | 1 thread, ms | {threads} threads, ms | factor |",
             "|---|---|---|---|---|"]
    many = {(j.label, j.precision): j for j in rows_of(jobs, "race", model, threads)}
    for j in rows_of(jobs, "race", model, 1):
        other = many.get((j.label, j.precision))
        one, two = j.median("median_ms"), other and other.median("median_ms")
        if one and two:
            name = f"**{j.label}**" if j.own else j.label
            lines.append(f"| {name} | {j.precision} | {number(one)} | {number(two)} | "
                         f"{number(one / two)} |")
    return lines


def pipeline_table(rows):
    """Crayon's normalisation has no time of its own: it is in its letterbox or in its first layer."""
    lines = ["| loop | threads | decode | letterbox | normalise | run | head, NMS | together | boxes |",
             "|---|---|---|---|---|---|---|---|---|"]
    for j in rows:
        if j.results:
            name = f"**{j.label}**" if j.own else f"{j.label}, {j.precision}"
            cells = " | ".join(number(j.median(key)) for key in STAGES)
            lines.append(f"| {name} | {j.threads} | {cells} | {number(j.median('boxes'), 0)} |")
    return lines


def check_lines(checks):
    pixels = checks["pixels"]
    if pixels.get("equal"):
        lines = [f"- Letterboxed pixels: equal byte for byte, {pixels['pictures']} pictures, both models' "
                 f"forms, {pixels['bytes']} bytes."]
    else:
        lines = [f"- Letterboxed pixels: {pixels}"]
    for model in MODELS:
        c = checks[model]
        lines.append(f"- {model} float32: " + (c["why"] if "why" in c else
                     f"{c['crayon_boxes']} boxes, the Python loop has {c['boxes']}; classes "
                     f"{'the same' if c['same_classes'] else 'differ'}, largest difference of a corner "
                     f"{c['largest_difference_px']} pixels."))
    return lines


METHOD = """\
Method: `make bench`. Every contestant runs once per round ({runs}; fewer with one thread,
for four pictures and where four seconds are over before) in a process of its own, after five runs to
warm up; all take turns within a round, every second round backwards. ms: median over the rounds of the medians within a round, input in memory to output in
memory. Rows with one thread are pinned to one core. Load to first result: from opening the file. Memory:
the process's peak less what it had before the runtime was imported; for Crayon the whole process.
Cosine: of the class scores with ONNX Runtime's float32 output for the same picture; it shows that a
converted model is still that model. Far below {same} is a file that its own tool quantized badly, timed
all the same: accuracy is measured elsewhere. ncnn's INT8 files are made by bench/peers/ncnn_int8.py,
the others' by their own quantizers with 16 pictures where no published file is at hand."""


def document(about, jobs):
    threads = about["threads"]
    runs = ", ".join(f"{n} of {m}" for m, n in about["runs"].items())
    lines = [f"# Speed, {about['date']}", "",
             f"{about['cpu']} ({about['level']}), {threads} threads, commit {about['commit']}; "
             f"{about['rounds']:.1f} rounds in {about['minutes']:.1f} minutes, mean load {about['load']:.2f}.",
             "",
             f"Peers: {', '.join(about['versions'])}.", "", METHOD.format(runs=runs, same=SAME), ""]
    for model in MODELS:
        rows = rows_of(jobs, "race", model, threads)
        four = rows_of(jobs, "race", model, threads, 4)
        loops = [j for j in jobs if j.section == "pipeline" and j.model == model]
        parts = [(f"## {TITLES[model]}, one picture, {threads} threads", race_table(rows), rows),
                 ("### Start and memory", start_table(rows), []),
                 ("### From 1 thread to more", scaling_table(jobs, model, threads), []),
                 ("### Four pictures at once, milliseconds for the four", race_table(four), four),
                 ("### From a JPEG file of 1280x720 to boxes, milliseconds", pipeline_table(loops), loops)]
        for title, table, skipped in parts:
            lines += [title, "", *(table if len(table) > 2 else ["Nothing ran."]), ""]
            why = list(dict.fromkeys(reasons(skipped)))
            if why:
                lines += ["Not in the table:", "", *why, ""]
    lines += ["## Same answers", "", *check_lines(about["checks"]), "", "## Goals", "",
              *(f"- {line}" for line in goals(about, jobs)), ""]
    return "\n".join(lines)


# ---- goals ----

def verdict(text, value, limit, at_least=True, unit=""):
    if value is None:
        return f"OPEN {text}: not measured"
    good = value >= limit if at_least else value <= limit
    sign = ">=" if at_least else "<="
    return f"{'PASS' if good else 'FAIL'} {text}: {value:.2f}{unit} ({sign} {limit}{unit})"


def ratio(a, b, key="median_ms"):
    """How many times longer a takes than b."""
    if not a or not b or a.median(key) is None or b.median(key) is None:
        return None
    return a.median(key) / b.median(key)


def against(rows, ours, theirs, limit, what):
    peer, own = fastest(rows, theirs, False), fastest(rows, ours, True)
    name = f" ({peer.label})" if peer else ""
    return verdict(f"{what}{name}", ratio(peer, own), limit)


def speed_goals(rows8, rowsx):
    return [against(rows8, "int8", "int8", 1.3, "yolov8n int8 against the fastest int8 peer"),
            against(rows8, "float32", "float32", 1.15, "yolov8n float32 against the fastest float32 peer"),
            against(rows8, "bf16", "bf16", 1.15, "yolov8n bf16 against the fastest bf16 peer"),
            against(rowsx, "int8", "int8", 2.5, "yolox_nano int8 against the fastest int8 peer"),
            against(rowsx, "int8", "bf16", 2.0, "yolox_nano int8 against the fastest bf16 peer"),
            verdict("yolov8n int8 over our own float32",
                    ratio(fastest(rows8, "float32", True), fastest(rows8, "int8", True)), 3.5)]


def memory_goal(rows, model, precision):
    peer = fastest(rows, precision, False, "memory_mb")
    own = fastest(rows, precision, True, "memory_mb")
    name = f" ({peer.label})" if peer else ""
    return verdict(f"{model} {precision} memory, part of the leanest peer's{name}",
                   ratio(own, peer, "memory_mb"), 1.0, at_least=False)


def loop_goals(about, jobs):
    rows = rows_of(jobs, "pipeline", "yolov8n", 1)
    own = fastest(rows, "float32", True, "total_ms")
    python = next((j for j in rows if not j.own and j.results), None)
    fit = decode = bare = None
    if own and python:
        mine = own.median("letterbox_ms") + own.median("head_ms")
        bare = (python.median("letterbox_ms") + python.median("head_ms")) / mine
        fit = bare + python.median("normalise_ms") / mine
        decode = ratio(own, python, "decode_ms")
    equal = "PASS" if about["checks"]["pixels"].get("equal") else "FAIL"
    lines = [verdict("1280x720 to network input, head and NMS on one core against OpenCV and NumPy", fit, 3),
             f"{equal} letterboxed pixels equal byte for byte",
             verdict("JPEG decoding on one core, part of OpenCV's time", decode, 1.0, at_least=False)]
    if bare:
        lines[0] += f"; {bare:.2f} if NumPy's normalisation were free"
    return lines


def goals(about, jobs):
    threads = about["threads"]
    rows8, rowsx = (rows_of(jobs, "race", m, threads) for m in ("yolov8n", "yolox_nano"))
    lines = speed_goals(rows8, rowsx)
    found = about["layers"]
    lines.append(verdict("yolov8n int8, all convolutions together, part of the CPU's int8 peak",
                         found["conv_share"], 0.75) + (f" ({found['why']})" if found["why"] else ""))
    lines += [memory_goal(rows, model, precision) for precision in PRECISIONS
              for model, rows in (("yolov8n", rows8), ("yolox_nano", rowsx))]
    lines += loop_goals(about, jobs)
    one = fastest(rows_of(jobs, "race", "yolov8n", 1), "int8", True)
    if threads == 2:
        lines += [verdict(f"yolov8n {p}, from 1 to 2 threads",
                          ratio(fastest(rows_of(jobs, "race", "yolov8n", 1), p, True),
                                fastest(rows8, p, True)), 1.9) for p in PRECISIONS]
    lines += [verdict(f"yolov8n {p}, load to first result", own.median("first_ms") if own else None, 60,
                      at_least=False, unit=" ms")
              for p, own in ((p, fastest(rows8, p, True, "first_ms")) for p in PRECISIONS)]
    return lines


# ---- README ----

def readme_table(about, jobs):
    """Milliseconds at the machine's threads: one line per runtime, its fastest file of each precision."""
    head = [f"{TITLES[m]}, {p}" for m in MODELS for p in PRECISIONS]
    lines = [f"Speed, milliseconds per picture, {about['threads']} threads of {about['cpu']} "
             f"({about['level']}), {about['date']}, commit {about['commit']}, all",
             "in one interleaved run (`make bench`); each runtime's fastest file of that precision, all of "
             "them in `bench/results/`:", "", "| | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    names = list(dict.fromkeys(name_of(j) for j in jobs if j.section == "race"))
    for name in names:
        cells = []
        for model in MODELS:
            for precision in PRECISIONS:
                mine = [j for j in rows_of(jobs, "race", model, about["threads"])
                        if name_of(j) == name and j.precision == precision and j.results]
                best = min((j.median("median_ms") for j in mine), default=None)
                cells.append(number(best, 1))
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines + ["", *summary(about, jobs)]


def summary(about, jobs):
    """Memory, start and scaling of yolov8n int8, as far as measured."""
    rows = rows_of(jobs, "race", "yolov8n", about["threads"])
    own, one = fastest(rows, "int8", True), fastest(rows_of(jobs, "race", "yolov8n", 1), "int8", True)
    lean, quick = (fastest(rows, "int8", False, key) for key in ("memory_mb", "first_ms"))
    if not own or not lean:
        return []
    text = (f"yolov8n INT8: {own.median('memory_mb'):.0f} MB at most ({lean.label}, the leanest peer: "
            f"{lean.median('memory_mb'):.0f} MB), {own.median('first_ms'):.0f} ms from the file to the first result "
            f"({quick.label}: {quick.median('first_ms'):.0f} ms)")
    if one and about["threads"] > 1:
        text += f", {ratio(one, own):.2f} times as fast with {about['threads']} threads as with one"
    return [text + "."]


def name_of(job):
    return "Crayon" if job.own else job.label.split(",")[0]


def write_readme(root, lines):
    path = os.path.join(root, "README.md")
    with open(path) as f:
        text = f.read()
    begin, end = (text.find(mark) for mark in MARKS)
    if begin < 0 or end < begin:
        raise SystemExit(f"bench: README.md has no {MARKS[0]} ... {MARKS[1]}")
    text = text[:begin + len(MARKS[0])] + "\n" + "\n".join(lines) + "\n" + text[end:]
    with open(path + ".new", "w") as f:
        f.write(text)
    os.replace(path + ".new", path)
    return path


def publish(about, jobs, save, readme, root):
    text = document(about, jobs)
    print(text)
    if save:
        cpu = "-".join(about["cpu"].split()[:2])
        path = os.path.join(root, "bench", "results", f"{about['date']}-{cpu}-{about['level']}.md")
        with open(path, "w") as f:
            f.write(text)
        print("written:", path)
    if readme:
        print("written:", write_readme(root, readme_table(about, jobs)))
