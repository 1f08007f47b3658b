"""Writes the ONNX package's own backend tests into a folder, for peers-node_tests to run.

    node_tests.py OUT

gives OUT/{node,simple,pytorch-operator,pytorch-converted}/NAME/model.onnx with
test_data_set_N/{input,output}_M.pb beside it (serialised TensorProto). The "node" tests are built by
numpy code inside the package; the other groups are data files that it ships. `tolerance` holds
"rtol atol" where a test asks for others than the package's usual 1e-3 and 1e-7. Values that are no
tensors (sequences, optionals, maps) are written as an empty NAME.not-a-tensor file, so that the runner can say why it skips.
"""

import pathlib
import shutil
import sys
import warnings

import numpy
import onnx
from onnx import numpy_helper
from onnx.backend.test import loader


def write_value(path, value, name):
    if isinstance(value, onnx.TensorProto):
        path.write_bytes(value.SerializeToString())
    elif isinstance(value, (numpy.ndarray, numpy.generic)):
        path.write_bytes(numpy_helper.from_array(numpy.asarray(value), name).SerializeToString())
    else:
        path.with_suffix(".not-a-tensor").write_bytes(b"")


def write_case(folder, case):
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    if (case.rtol, case.atol) != (1e-3, 1e-7):
        (folder / "tolerance").write_text(f"{case.rtol:g} {case.atol:g}\n")
    for i, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{i}"
        data.mkdir()
        for kind, values, infos in (
            ("input", inputs, case.model.graph.input),
            ("output", outputs, case.model.graph.output),
        ):
            for j, value in enumerate(values):
                write_value(data / f"{kind}_{j}.pb", value, infos[j].name)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: node_tests.py OUT")
    out = pathlib.Path(sys.argv[1])
    if out.exists():
        shutil.rmtree(out)
    warnings.simplefilter("ignore")
    cases = loader.load_node_model_tests()
    for case in cases:
        write_case(out / "node" / case.name, case)
    total = len(cases)
    for group in ("simple", "pytorch-operator", "pytorch-converted"):
        source = pathlib.Path(loader.DATA_DIR) / group
        for model in sorted(source.glob("*/model.onnx")):
            shutil.copytree(model.parent, out / group / model.parent.name)
            total += 1
    print(f"onnx {onnx.__version__}: {total} tests in {out}")


main()
