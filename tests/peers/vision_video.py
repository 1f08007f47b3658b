"""Frames equal those of cv2.VideoCapture byte for byte: vision_video.py DRIVER [VIDEO...]

On videos that OpenCV writes here (MPEG-4 in mp4, Motion JPEG in avi, at odd sizes) and on those given.
Then frames by time, asked for forwards, backwards and far apart, equal the ones of the straight walk."""
import os
import subprocess
import sys
import tempfile

import cv2
import numpy as np


def make(folder):
    rng = np.random.default_rng(7)
    made = []
    for name, code, width, height in (("a.mp4", "mp4v", 322, 178), ("b.avi", "MJPG", 160, 120),
                                      ("c.mp4", "mp4v", 640, 360)):
        path = os.path.join(folder, name)
        out = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*code), 25, (width, height))
        base = rng.integers(0, 256, (height // 8 + 8, width // 8 + 8, 3), np.uint8)
        base = cv2.resize(base, None, fx=8, fy=8)
        for i in range(60):
            out.write(np.ascontiguousarray(base[i // 2:i // 2 + height, i:i + width]))
        out.release()
        made.append(path)
    return made


def frames_of(path):
    capture, frames = cv2.VideoCapture(path), []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(frame[:, :, ::-1].copy())


def ours(driver, path, shape, *times):
    raw = subprocess.run([driver, path, *map(str, times)], check=True, stdout=subprocess.PIPE).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, *shape)


def check(driver, path):
    expected, fps = frames_of(path)
    got = ours(driver, path, expected[0].shape)
    assert len(got) == len(expected), f"{len(got)} frames, OpenCV has {len(expected)}"
    worst = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(got, expected))
    assert worst == 0, f"frames differ by up to {worst}"
    n = len(expected)
    asked = [0, 1, n - 1, n // 2, n // 2 + 1, 3, n - 2, n + 100]
    picked = ours(driver, path, expected[0].shape, *[i / fps for i in asked])
    for i, frame in zip(asked, picked):
        assert np.array_equal(frame, expected[min(i, n - 1)]), f"frame {i} by time"
    print(f"{os.path.basename(path)}: {n} frames equal, by time as well")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for path in make(folder) + sys.argv[2:]:
            check(sys.argv[1], path)


main()
