import subprocess
import unittest

from common import PROGRAM, SAMPLE, Case, crayon, np, pictures, tensors


class QuantizeTest(Case):
    def scenes(self, count):
        if not PROGRAM.exists():
            self.skipTest(f"{PROGRAM} is not built")
        folder = self.folder / "scenes"
        subprocess.run([PROGRAM, "synth", folder, "-n", str(count), "--seed", "3"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return folder / "images"

    def test_same_file_as_the_program(self):
        images = self.scenes(6)
        options = ["--images", images, "--samples", "6", "--weights", "int8", "--symmetric",
                   "--keep-float", "/stem/*"]
        subprocess.run([PROGRAM, "quantize", SAMPLE, "-o", self.folder / "program.onnx", *options],
                       check=True, stdout=subprocess.DEVNULL)
        report = crayon.quantize(SAMPLE, self.out, images=images, samples=6, weights="int8",
                                 symmetric=True, keep_float=["/stem/*"])
        self.assertEqual(self.out.read_bytes(), (self.folder / "program.onnx").read_bytes())
        self.assertEqual((report.samples, report.excluded), (6, 1))
        self.assertLess(report.bytes_after, report.bytes_before)

    def test_list_of_files_is_the_folder(self):
        images = self.scenes(4)
        crayon.quantize(SAMPLE, self.out, images=images)
        crayon.quantize(SAMPLE, self.folder / "list.onnx", images=sorted(images.iterdir()))
        self.assertEqual(self.out.read_bytes(), (self.folder / "list.onnx").read_bytes())

    def test_pictures_are_their_tensors(self):
        model = crayon.Session(SAMPLE).model
        from crayon._model import fit_picture
        crayon.quantize(SAMPLE, self.out, images=pictures(3))
        crayon.quantize(SAMPLE, self.folder / "b.onnx",
                        images=(fit_picture(model, p)[None] for p in pictures(3)))
        self.assertEqual(self.out.read_bytes(), (self.folder / "b.onnx").read_bytes())
        crayon.quantize(SAMPLE, self.folder / "c.onnx",
                        images=[np.concatenate([fit_picture(model, p)[None] for p in pictures(3)])])
        self.assertEqual(self.out.read_bytes(), (self.folder / "c.onnx").read_bytes())

    def test_statistics_are_kept(self):
        stats, recipe = self.folder / "stats.json", self.folder / "recipe.json"
        crayon.quantize(SAMPLE, self.out, images=tensors(3), save_stats=stats, save_recipe=recipe)
        crayon.quantize(SAMPLE, self.folder / "again.onnx", stats=stats)
        self.assertEqual(self.out.read_bytes(), (self.folder / "again.onnx").read_bytes())
        self.assertGreater(recipe.stat().st_size, 0)

    def test_it_runs_and_sees_alike(self):
        crayon.quantize(SAMPLE, self.out, images=pictures(6))
        x = next(tensors(1))
        a, b = crayon.Session(SAMPLE).run(x), crayon.Session(self.out).run(x)
        self.assertTrue(crayon.Session(self.out).model.quantized)
        # boxes of 256 pixels: 8 bits all the way differ by 1.3 pixels on average (measured 0.4)
        self.assertLess(np.abs(a - b).mean(), 1.3)

    def test_progress_and_cancel(self):
        seen = []
        crayon.quantize(SAMPLE, self.out, images=tensors(3),
                        progress=lambda what, done, total: seen.append((what, done, total)))
        self.assertTrue(seen)
        self.assertEqual(seen[-1][2], 3)
        self.out.unlink()
        self.refuses(crayon.CrayonError, "cancelled", crayon.quantize, SAMPLE, self.out,
                     images=tensors(8), progress=lambda *_: False)

        def fails(*_):
            raise KeyError("mine")

        self.refuses(KeyError, "mine", crayon.quantize, SAMPLE, self.out, images=tensors(8),
                     progress=fails)

    def test_wrong_usage(self):
        run = crayon.quantize
        self.refuses(TypeError, "images or stats", run, SAMPLE, self.out)
        self.refuses(TypeError, ["'colour'", "weights"], run, SAMPLE, self.out, images=tensors(1),
                     colour=1)
        self.refuses(crayon.CrayonError, ["calib", "minmax"], run, SAMPLE, self.out,
                     images=tensors(1), calib="guess")
        self.refuses(TypeError, "symmetric", run, SAMPLE, self.out, images=tensors(1), symmetric=3)
        self.refuses(ValueError, "no calibration data", run, SAMPLE, self.out, images=[])
        self.refuses(TypeError, "float32", run, SAMPLE, self.out, images=[np.zeros((1, 3, 256, 256))])
        self.refuses(ValueError, "[1, 3, 256, 256]", run, SAMPLE, self.out,
                     images=[np.zeros((1, 3, 32, 32), np.float32)])
        self.refuses(crayon.CrayonError, "gone", run, SAMPLE, self.out, images=self.folder / "gone")
        self.refuses(crayon.CrayonError, "nothing-like", run, SAMPLE, self.out, images=tensors(1),
                     keep_float="nothing-like")


if __name__ == "__main__":
    unittest.main()
