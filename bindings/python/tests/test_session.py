import threading
import unittest
from pathlib import Path

from common import SAMPLE, Case, crayon, np, pictures, tensors


class SessionTest(Case):
    def test_ports(self):
        s = crayon.Session(SAMPLE)
        self.assertEqual([tuple(p) for p in s.inputs], [("images", "float32", (1, 3, 256, 256))])
        self.assertEqual([tuple(p) for p in s.outputs], [("output0", "float32", (1, 9, 1280))])

    def test_same_by_position_and_name_and_layout(self):
        s = crayon.Session(str(SAMPLE), threads=1)
        x = next(tensors(1))
        y = s.run(x)
        self.assertEqual((y.shape, y.dtype), ((1, 9, 1280), np.float32))
        np.testing.assert_array_equal(y, s.run({"images": x}))
        np.testing.assert_array_equal(y, s.run(np.asfortranarray(x)))
        np.testing.assert_array_equal(y, crayon.Session(SAMPLE, threads=2).run(x))

    def test_result_belongs_to_the_caller(self):
        s = crayon.Session(SAMPLE)
        a, b = tensors(2)
        first = s.run(a)
        kept = first.copy()
        s.run(b)
        np.testing.assert_array_equal(first, kept)
        del s
        first += 1

    def test_wrong_inputs(self):
        s = crayon.Session(SAMPLE)
        x = next(tensors(1))
        self.refuses(TypeError, ["images", "float32", "float64"], s.run, x.astype("f8"))
        self.refuses(ValueError, ["images", "[1, 3, 256, 256]"], s.run, x[:, :, :128])
        self.refuses(ValueError, "'nobody'", s.run, {"nobody": x})
        self.refuses(ValueError, "2 arrays", s.run, x, x)
        self.refuses(ValueError, "precision", crayon.Session, SAMPLE, precision="int3")

    def test_bad_files(self):
        self.refuses(crayon.CrayonError, "nowhere.onnx", crayon.Session, self.folder / "nowhere.onnx")
        bad = self.folder / "bad.onnx"
        bad.write_bytes(b"\x08" * 100)
        self.refuses(crayon.CrayonError, "bad.onnx", crayon.Session, bad)
        with self.assertRaises(crayon.CrayonError) as caught:
            crayon.Session(self.folder / "nowhere.onnx")
        self.assertEqual(caught.exception.status, "io")

    def test_threads(self):
        """Runs at the same time give what runs one after the other give."""
        s = crayon.Session(SAMPLE, threads=1)
        inputs = list(tensors(8))
        expected = [s.run(x) for x in inputs]
        wrong = []

        def work(k):
            for i in range(12):
                n = (i + k) % len(inputs)
                if not np.array_equal(s.run(inputs[n]), expected[n]):
                    wrong.append((k, n))

        workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        self.assertEqual(wrong, [])

    def test_gil_is_released(self):
        """Python code goes on while a model runs: without that the counter would stand still."""
        s = crayon.Session(SAMPLE, threads=1)
        x, counted, stop = next(tensors(1)), [0], threading.Event()

        def count():
            while not stop.is_set():
                counted[0] += 1

        s.run(x)
        thread = threading.Thread(target=count)
        thread.start()
        before = counted[0]
        for _ in range(20):
            s.run(x)
        moved = counted[0] - before
        stop.set()
        thread.join()
        self.assertGreater(moved, 20)


class DetectTest(Case):
    def test_arrays_and_files_agree(self):
        detector = crayon.Detector(SAMPLE)
        picture = next(pictures(1))
        found = detector.detect(picture, conf=.01)
        same = crayon.detect(detector, picture[:, :, ::-1], conf=.01, bgr=True)
        np.testing.assert_array_equal(found.boxes, same.boxes)
        self.assertGreater(len(found), 0)
        self.assertEqual(found.boxes.shape, (len(found), 4))
        self.assertTrue((np.diff(found.scores) <= 0).all())
        self.assertTrue(((found.boxes >= 0) & (found.boxes <= 240)).all())
        self.assertEqual(set(found.as_dicts()[0]), {"class", "name", "score", "box"})

    def test_options(self):
        detector = crayon.Detector(SAMPLE)
        picture = next(pictures(1))
        every = detector.detect(picture, conf=.001)
        self.assertEqual(len(detector.detect(picture, conf=.001, max_detections=3)), 3)
        only = detector.detect(picture, conf=.001, classes=[int(every.classes[0])])
        self.assertEqual(set(only.classes.tolist()), {int(every.classes[0])})
        self.assertEqual(len(detector.detect(picture, conf=.001, classes=[])), 0)
        self.refuses(ValueError, "conf", detector.detect, picture, conf=2)

    def test_bad_pictures(self):
        detector = crayon.Detector(SAMPLE)
        self.refuses(ValueError, "uint8", detector.detect, np.zeros((4, 4, 3)))
        self.refuses(ValueError, "uint8", detector.detect, np.zeros((4, 4), np.uint8))
        self.refuses(crayon.CrayonError, "gone.jpg", detector.detect, self.folder / "gone.jpg")


class PackageTest(unittest.TestCase):
    def test_typed(self):
        self.assertTrue((Path(crayon.__file__).parent / "py.typed").exists())
        self.assertRegex(crayon.__version__, r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()
