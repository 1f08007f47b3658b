"""Writes the ONNX package's own backend tests into a folder, for peers-node_tests to run.

    node_tests.py OUT

gives OUT/{node,simple,pytorch-operator,pytorch-converted}/NAME/model.onnx with
test_data_set_N/{input,output}_M.pb beside it (serialised TensorProto). The "node" tests are built
by numpy code inside the package; the other groups are data files that it ships. `tolerance` holds
"rtol atol" where a test asks for others than the package's usual 1e-3 and 1e-7. Values that are no
tensors (sequences, optionals, maps) are left out; the runner skips such tests by their types.
Models of an opset below 7 are lifted to 7 by ONNX's own version converter, where it can.
"""

import pathlib
import shutil
import sys
import warnings

import numpy
import onnx
from onnx import numpy_helper, version_converter
from onnx.backend.test import loader


def write_value(path, value, name):
    if isinstance(value, onnx.TensorProto):
        path.write_bytes(value.SerializeToString())
    elif isinstance(value, (numpy.ndarray, numpy.generic)):
        path.write_bytes(numpy_helper.from_array(numpy.asarray(value), name).SerializeToString())


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


def lift(path):
    model = onnx.load(path)
    opsets = {o.domain: o.version for o in model.opset_import}
    if opsets.get("", 7) >= 7:
        return
    if "PReLU" in path.parent.name and "multiparam" in path.parent.name:
        # The converter leaves the slope [C] as it is, which opset 7 would align with the last axis.
        print(f"{path.parent.name} stays at opset {opsets['']}: its slope needs another shape")
        return
    try:
        lifted = version_converter.convert_version(model, 7)
    except Exception as error:  # the converter raises RuntimeError and its own kinds
        print(f"{path.parent.name} stays at opset {opsets['']}: {str(error).splitlines()[0]}")
        return
    path.write_bytes(lifted.SerializeToString())


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
            folder = shutil.copytree(model.parent, out / group / model.parent.name)
            lift(folder / "model.onnx")
            total += 1
    print(f"onnx {onnx.__version__}: {total} tests in {out}")


main()
