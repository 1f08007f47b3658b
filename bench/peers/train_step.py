#!/usr/bin/env python3
"""One training step against PyTorch, interleaved: forward, backward, SGD with momentum and Nesterov.

    train_step.py BUILD MODEL... [--threads 2] [--rounds 5] [--steps 4]

MODEL is an ONNX file (one picture a step), or arch:NAME:SIZE:BATCH, an untrained network with
BatchNormalization by the statistics of the batch.

Needs a Python with torch, numpy and onnx. PyTorch runs the same graph (tests/peers/autograd_torch.py
writes its nodes as torch operations) in its own process, once with its usual memory layout and once
channels last; so does Crayon, once more with recomputation. The processes take turns, round by
round; figures are medians of all rounds but the first, and each process's peak memory. What PyTorch
holds before it has seen a model is printed beside its peak.
"""
import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "peers"))


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def torch_child(folder, threads, layout):
    """Answers lines like peers-train_step does."""
    import torch
    from autograd_torch import load
    torch.set_num_threads(threads)
    before = peak_mb()
    net, names, x, seeds = load(Path(folder), torch.float32)
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
        for name in names:
            w = net.constants[name].detach()
            if w.dim() == 4:
                w = w.to(memory_format=torch.channels_last)
            net.constants[name] = w.requires_grad_(True)
    parameters = [net.constants[name] for name in names]
    optimiser = torch.optim.SGD(parameters, lr=1e-5, momentum=0.937, nesterov=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            optimiser.zero_grad()
            torch.autograd.backward(net.run(x), seeds)
            optimiser.step()
            times.append((time.perf_counter() - start) * 1e3)
        print(" ".join(f"{t:.2f}" for t in times), flush=True)
    print(f"{peak_mb():.1f} {before:.1f}", flush=True)


class Peer:
    def __init__(self, name, command, threads):
        self.name, self.times = name, []
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, env=env)

    def round(self, steps):
        self.child.stdin.write(f"{steps}\n")
        self.child.stdin.flush()
        return [float(t) for t in self.child.stdout.readline().split()]

    def end(self):
        self.child.stdin.close()
        peak = [float(v) for v in self.child.stdout.readline().split()]
        self.child.wait()
        return peak


def cpu_name():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown CPU"


def measure(build, model, args):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([f"{build}/tests/peers-autograd_dump", model, folder], check=True,
                       stdout=subprocess.DEVNULL)
        ours = [f"{build}/tests/peers-train_step", model, "--threads", str(args.threads)]
        theirs = [sys.executable, __file__, "--child", folder, str(args.threads)]
        peers = [Peer("Crayon", ours, args.threads),
                 Peer("Crayon, recomputing", [*ours, "--recompute"], args.threads),
                 Peer("PyTorch", [*theirs, "usual"], args.threads),
                 Peer("PyTorch, channels last", [*theirs, "channels_last"], args.threads)]
        for peer in peers:
            peer.round(1)  # first touches, code paths, PyTorch's own tuning
        for _ in range(args.rounds):
            for peer in peers:
                peer.times += peer.round(args.steps)
        print(f"{Path(model).name}, {args.threads} threads of {cpu_name()}, "
              f"{args.rounds} rounds of {args.steps} steps", flush=True)
        for peer in peers:
            peak = peer.end()
            note = f"tape {peak[1]:.0f}" if peer.name.startswith("Crayon") else \
                f"{peak[1]:.0f} before the model"
            print(f"  {peer.name:24} {statistics.median(peer.times):7.1f} ms a step (least "
                  f"{min(peer.times):.1f}), peak {peak[0]:.0f} MB ({note})")


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--child":
        torch_child(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("models", nargs="+")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=4)
    args = p.parse_args()
    for model in args.models:
        measure(args.build, model, args)


if __name__ == "__main__":
    main()
