"""Where the tests find things. CRAYON_LIBRARY names the library that is tested."""

import os
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("CRAYON_LIBRARY", str(ROOT / "build" / "libcrayon_python.so"))

import numpy as np  # noqa: E402

import crayon  # noqa: E402

SAMPLE = ROOT / "sample" / "shapes.onnx"
LIBRARY = Path(os.environ["CRAYON_LIBRARY"])
PROGRAM = LIBRARY.with_name("crayon")


def pictures(count, seed=0):
    """Pictures of coloured rectangles."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        picture = np.full((200, 240, 3), rng.integers(60, 200), np.uint8)
        for _ in range(8):
            y, x = rng.integers(0, 150, 2)
            picture[y:y + 50, x:x + 60] = rng.integers(0, 255, 3)
        yield picture


def tensors(count, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.random((1, 3, 256, 256), dtype=np.float32)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "out.onnx"

    def refuses(self, kind, words, function, *args, **kwargs):
        """function fails with all of `words` in its message, and writes no model."""
        with self.assertRaises(kind) as caught:
            function(*args, **kwargs)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))
        self.assertFalse(self.out.exists())
