"""Build backend (PEP 517, PEP 660) of the Python package: CMake makes the shared library, this file
zips it up with the Python sources.

The library speaks to Python through ctypes only, so one wheel serves every CPython and PyPy from
`requires-python` on and every NumPy: tag py3-none-PLATFORM. It links the distribution's libraries
(libjpeg, libpng, ...) as the program does, hence a linux_* tag and not a manylinux one. No build
requirement besides what building Crayon needs: an isolated build downloads nothing.

CRAYON_BUILD names a folder where Crayon is built already; its library is then taken as it is.
"""

import base64
import hashlib
import os
import re
import subprocess
import sysconfig
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LIBRARY = "libcrayon_python.so"


def _version():
    text = (ROOT / "include" / "crayon" / "status.h").read_text()
    return re.search(r'#define CR_VERSION "([^"]+)"', text).group(1)


def _project(key):
    text = (HERE / "pyproject.toml").read_text()
    return re.search(rf'^{key} = "(.*)"$', text, re.M).group(1)


def _metadata():
    lines = ["Metadata-Version: 2.1", "Name: crayon", f"Version: {_version()}",
             f"Summary: {_project('description')}", "License: Apache-2.0",
             f"Requires-Python: {_project('requires-python')}", "Requires-Dist: numpy>=1.21",
             "Classifier: Typing :: Typed", "Description-Content-Type: text/markdown", ""]
    return "\n".join(lines) + "\n" + (HERE / "README.md").read_text()


def _tag():
    return "py3-none-" + re.sub(r"[-.]", "_", sysconfig.get_platform())


def _wheel_file():
    return f"Wheel-Version: 1.0\nGenerator: crayon_build\nRoot-Is-Purelib: false\nTag: {_tag()}\n"


def _build_library(folder):
    """The library's path; built in `folder` unless CRAYON_BUILD has one."""
    ready = os.environ.get("CRAYON_BUILD")
    if ready:
        return Path(ready) / LIBRARY
    subprocess.run(["cmake", "-S", ROOT, "-B", folder, "-DCMAKE_BUILD_TYPE=Release",
                    "-DCRAYON_TESTS=OFF"], check=True)
    subprocess.run(["cmake", "--build", folder, "--parallel", "--target", "crayon_python"],
                   check=True)
    return Path(folder) / LIBRARY


class _Wheel:
    """A zip file whose RECORD lists every member with its hash."""

    def __init__(self, folder):
        self.name = f"crayon-{_version()}-{_tag()}.whl"
        self.info = f"crayon-{_version()}.dist-info"
        self.zip = zipfile.ZipFile(Path(folder) / self.name, "w", zipfile.ZIP_DEFLATED)
        self.record = []

    def add(self, name, data, mode=0o644):
        data = data.encode() if isinstance(data, str) else data
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        self.record.append(f"{name},sha256={digest},{len(data)}")
        member = zipfile.ZipInfo(name)  # dated 1980: same sources, same bytes
        member.external_attr = (0o100000 | mode) << 16
        member.compress_type = zipfile.ZIP_DEFLATED
        self.zip.writestr(member, data)

    def close(self):
        self.add(f"{self.info}/METADATA", _metadata())
        self.add(f"{self.info}/WHEEL", _wheel_file())
        self.add(f"{self.info}/LICENSE", (ROOT / "LICENSE").read_bytes())
        name = f"{self.info}/RECORD"
        self.zip.writestr(zipfile.ZipInfo(name), "\n".join(self.record + [f"{name},,"]) + "\n")
        self.zip.close()
        return self.name


def _sources():
    package = HERE / "crayon"
    return sorted(p for p in package.rglob("*") if p.suffix in (".py", ".pyi") or
                  p.name == "py.typed")


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with tempfile.TemporaryDirectory() as folder:
        library = _build_library(folder).read_bytes()
    wheel = _Wheel(wheel_directory)
    for path in _sources():
        wheel.add(path.relative_to(HERE).as_posix(), path.read_bytes())
    wheel.add(f"crayon/{LIBRARY}", library, 0o755)
    return wheel.close()


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    """The sources stay where they are; the library is put beside them (git ignores it)."""
    with tempfile.TemporaryDirectory() as folder:
        library = _build_library(folder).read_bytes()
    (HERE / "crayon" / LIBRARY).write_bytes(library)
    wheel = _Wheel(wheel_directory)
    wheel.add("crayon.pth", f"{HERE}\n")
    return wheel.close()


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError("build a wheel from Crayon's source tree: pip wheel bindings/python")
