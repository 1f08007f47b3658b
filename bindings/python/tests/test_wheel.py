import os
import subprocess
import sys
import unittest
import zipfile

from common import HERE, LIBRARY, SAMPLE, Case, crayon


class WheelTest(Case):
    def test_built_installed_and_run(self):
        """pip makes the wheel without a network, installs it elsewhere, and it works alone."""
        environment = {k: v for k, v in os.environ.items() if k != "CRAYON_LIBRARY"}
        environment["CRAYON_BUILD"] = str(LIBRARY.parent)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        if subprocess.run([*pip, "--version"], capture_output=True).returncode:
            self.skipTest("this Python has no pip")
        subprocess.run([*pip, "wheel", "--no-index", "--no-deps", "-w", self.folder, HERE.parent],
                       check=True, env=environment)
        wheels = list(self.folder.glob("crayon-*.whl"))
        self.assertEqual(len(wheels), 1)
        self.assertIn("-py3-none-", wheels[0].name)
        names = set(zipfile.ZipFile(wheels[0]).namelist())
        self.assertLessEqual({"crayon/libcrayon_python.so", "crayon/py.typed",
                              "crayon/quantization/__init__.py"}, names)
        site = self.folder / "site"
        subprocess.run([*pip, "install", "--no-index", "--no-deps", "--target", site, wheels[0]],
                       check=True, env=environment)
        environment["PYTHONPATH"] = str(site)
        code = ("import crayon, crayon.quantization; print(crayon.__file__); "
                f"print(crayon.Session({str(SAMPLE)!r}).outputs[0].shape, crayon.__version__)")
        run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=self.folder,
                             check=True, capture_output=True, text=True)
        self.assertIn(str(site), run.stdout)
        self.assertIn(f"(1, 9, 1280) {crayon.__version__}", run.stdout)


if __name__ == "__main__":
    unittest.main()
