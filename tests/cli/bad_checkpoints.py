#!/usr/bin/env python3
"""Checkpoints that must be refused, each named for what is wrong with it: bad_checkpoints.py DIR.

None of them harms whoever makes them; some would run a program where a pickle is trusted.
"""
import collections
import pickle
import struct
import sys
import zipfile

from make_checkpoint import (NN, OWN, Reduced, Tensor, conv2d, dump, function, listed, mod, named, save, save_raw)

FOLDER = sys.argv[1]


def raw(name, data, storages=(), **options):
    save_raw(f"{FOLDER}/{name}.pt", data, storages, **options)


def model(layers, **more):
    """A checkpoint of one model with these layers."""
    for i, m in enumerate(layers):
        m.i, m.f = i, -1
    return {"model": mod("ultralytics.nn.tasks.DetectionModel", [("model", listed("Sequential", layers))], names={0: "x"}, **more)}


def small(weight=None):
    return conv2d(weight or Tensor([0.5] * 27, [1, 3, 3, 3]), None, 1)


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


# ---- programs in a pickle ----
raw("os_system", b"\x80\x02cos\nsystem\n" + text("touch owned") + b"\x85R.")
raw("posix_system", b"\x80\x02cposix\nsystem\n" + text("touch owned") + b"\x85R.")
raw("eval", b"\x80\x02c__builtin__\neval\n" + text("1+1") + b"\x85R.")
raw("getattr", b"\x80\x02cbuiltins\ngetattr\nctorch\nfloat16\n" + text("__class__") + b"\x86R.")
raw("getattr_chain", b"\x80\x02cbuiltins\ngetattr\nq\x00cmodels.yolo\nDetect\n" + text("forward") + b"\x86Rq\x01h\x00h\x01"
    + text("__globals__") + b"\x86R.")
raw("call_method", b"\x80\x02cbuiltins\ngetattr\ncmodels.yolo\nDetect\n" + text("forward") + b"\x86R)R.")
raw("subprocess", b"\x80\x04" + text("subprocess") + text("Popen") + b"\x93" + text("touch owned") + b"\x85R.")
raw("dotted", b"\x80\x04" + text("ultralytics.nn.tasks") + text("os.system") + b"\x93.")
raw("load_from_bytes", b"\x80\x02ctorch.storage\n_load_from_bytes\nC\x01.\x85R.")
raw("call_class", b"\x80\x02cultralytics.nn.modules.conv\nConv\nK\x03\x85R.")
raw("call_dtype", b"\x80\x02ctorch\nfloat16\n)R.")
raw("call_text", b"\x80\x02" + text("system") + b")R.")
raw("reduced_by_tensor", b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(c__builtin__\nobject\nN)NtR.")
raw("extension", b"\x80\x02\x82\x01.")
raw("inst", b"\x80\x02(ios\nsystem\n.")
raw("text_opcode", b"I1\n.")
raw("protocol_9", b"\x80\x09N.")

# ---- streams that are damaged or ask for too much ----
raw("empty", b"")
raw("no_stop", b"\x80\x02}")
raw("truncated", dump(model([small()]))[0][:-60])
raw("stack_empty", b"\x80\x020.")
raw("no_mark", b"\x80\x02t.")
raw("marks", b"\x80\x02" + b"(" * 100000)
raw("two_values", b"\x80\x02NN.")
raw("memo_far", b"\x80\x02Nr\xff\xff\xff\xff.")
raw("memo_empty", b"\x80\x02h\x07.")
raw("long_text", b"\x80\x02X\xff\xff\xff\xffabc.")
raw("longer_text", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.")
raw("long_number", b"\x80\x02\x8b\xff\xff\xff\x7f.")
raw("frame", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.")
raw("odd_dict", b"\x80\x02}(Nu.")
raw("append_to_none", b"\x80\x02N(Ne.")
raw("build_none", b"\x80\x02NNb.")
raw("long_name", b"\x80\x02c" + b"a" * 5000 + b"\nb\n.")
raw("copies", b"\x80\x02](" + b"N" * 3000 + b"eq\x000" + b"ctorch\nSize\nh\x00\x85R0" * 3000 + b"N.")

# ---- values that make no model ----
raw("number", b"\x80\x02K\x05.")
raw("nothing", b"\x80\x02}.")
save(f"{FOLDER}/state_dict.pt", {"model": collections.OrderedDict([("model.0.conv.weight", Tensor([1.0], [1]))])})
itself = model([small()])
itself["model"]._modules["model"]._modules["0"] = itself["model"]._modules["model"]
itself["model"]._modules["model"].f = -1
save(f"{FOLDER}/itself.pt", itself)
wide = small(Tensor([0.1] * 9, [3, 3, 1, 1]))
for _ in range(12):
    wide = listed("Sequential", [wide] * 12)
save(f"{FOLDER}/many.pt", model([wide]))
save(f"{FOLDER}/unknown_class.pt", model([mod("ultralytics.nn.modules.block.TorchVision")]))
save(f"{FOLDER}/other_model.pt", {"model": mod(NN + "linear.Linear")})
reads_nothing = model([small()])
del reads_nothing["model"]._modules["model"]._modules["0"].f
save(f"{FOLDER}/reads_nothing.pt", reads_nothing)
ahead = model([small(), small()])
ahead["model"]._modules["model"]._modules["0"].f = 1
save(f"{FOLDER}/reads_ahead.pt", ahead)
save(f"{FOLDER}/channels.pt", model([small(), small()]))
save(f"{FOLDER}/missing_norm.pt", model([mod(OWN + "conv.Conv", [("conv", small()), ("bn", mod(NN + "batchnorm.BatchNorm2d"))])]))

# ---- tensors that reach beyond what is there ----
save(f"{FOLDER}/beyond.pt", model([small(Tensor([0.0] * 20, [1, 3, 3, 3]))]))
save(f"{FOLDER}/expanded.pt", model([small(Tensor([0.0], [4096, 4096, 64, 64], stride=(0, 0, 0, 0)))]))
save(f"{FOLDER}/negative.pt", model([small(Tensor([0.0] * 27, [1, 3, 3, 3], stride=(27, 9, -3, 1)))]))
save(f"{FOLDER}/overflow.pt", model([small(Tensor([0.0] * 27, [2, 3, 3, 3], stride=(2**62, 2**62, 3, 1)))]))
save(f"{FOLDER}/rank_9.pt", model([small(Tensor([0.0], [1] * 9))]))
tensor = Tensor([0.5] * 27, [1, 3, 3, 3])
data, storages = dump(model([small(tensor)]))
raw("no_storage", data)
raw("short_storage", data, [("0", storages[0].raw[:50])])
raw("big_endian", data, [("0", storages[0].raw)], order=b"big")
tensor.storage.count = 2**61
raw("huge_storage", dump(model([small(tensor)]))[0], [("0", storages[0].raw)])
tensor.storage.count, tensor.storage.code = 27, "c"
import make_checkpoint  # noqa: E402
make_checkpoint.STORAGES["c"] = "ComplexFloatStorage"
raw("complex", dump(model([small(tensor)]))[0], [("0", storages[0].raw)])

# ---- archives ----
raw("bomb", b"\x80\x02" + b"N0" * 20000000 + b"N.", method=zipfile.ZIP_DEFLATED)
raw("torchscript", data, extra=[("archive/constants.pkl", b"\x80\x02).")])
with zipfile.ZipFile(f"{FOLDER}/no_pickle.pt", "w") as z:
    z.writestr("a.txt", "no model")
whole = open(f"{FOLDER}/no_storage.pt", "rb").read()
open(f"{FOLDER}/cut_zip.pt", "wb").write(whole[:-40])
at = whole.index(b"ultralytics.nn.tasks")
open(f"{FOLDER}/flipped.pt", "wb").write(whole[:at] + b"U" + whole[at + 1:])
old = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
open(f"{FOLDER}/old_truncated.pt", "wb").write(old + b"\x80\x02}.")
open(f"{FOLDER}/old_version.pt", "wb").write(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(7, 2))
storage = dump({"x": Tensor([1.0], [1])}, views=True)[0]
open(f"{FOLDER}/old_short.pt", "wb").write(old + storage + pickle.dumps(["0"], 2) + b"\x01" + b"\0" * 7 + b"\0\0")
open(f"{FOLDER}/old_keys.pt", "wb").write(old + storage + pickle.dumps(["5"], 2))
