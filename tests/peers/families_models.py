"""Detectors and classifiers with random weights, exported to ONNX: the subjects of families.py.

Ultralytics' and torchvision's networks come from their packages (definitions only, no weights are
fetched). YOLOv5 with anchors, YOLOv6, YOLOv7, PicoDet, NanoDet-Plus and MobileNetV1 are in neither,
so their characteristic blocks are written here: what matters is that every operator, and the order
in which it stands, is what an export of the family has. Widths are small.

Random networks either fade or explode; a few batches in training mode give every BatchNorm the
statistics of its own input, after which activations stay near unit variance. The last layers are
scaled up so that scores spread over (0, 1) instead of huddling at 0.5.
"""
import contextlib
import io
import os
import shutil

import torch
from torch import nn
from torch.nn import functional as F

SEED = 7


def conv(i, o, k=1, s=1, g=1, act=nn.SiLU):
    layers = [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, act()) if act else nn.Sequential(*layers)


def leaky():
    return nn.LeakyReLU(0.1)


class Focus(nn.Module):
    """Every second pixel into channels, by slices (YOLOv5 before 6.0, YOLOX)."""

    def __init__(self, o, act=nn.SiLU):
        super().__init__()
        self.conv = conv(12, o, 3, act=act)

    def forward(self, x):
        return self.conv(torch.cat([x[..., a::2, b::2] for b in (0, 1) for a in (0, 1)], 1))


class C3(nn.Module):
    """YOLOv5's cross-stage block."""

    def __init__(self, c):
        super().__init__()
        h = c // 2
        self.left, self.right, self.out = conv(c, h), conv(c, h), conv(2 * h, c)
        self.inner = nn.Sequential(conv(h, h), conv(h, h, 3))

    def forward(self, x):
        y = self.left(x)
        return self.out(torch.cat([y + self.inner(y), self.right(x)], 1))


class Elan(nn.Module):
    """YOLOv7's block: every second step of a chain is kept and concatenated."""

    def __init__(self, i, o):
        super().__init__()
        h = i // 2
        self.a, self.b = conv(i, h, act=leaky), conv(i, h, act=leaky)
        self.c = nn.Sequential(conv(h, h, 3, act=leaky), conv(h, h, 3, act=leaky))
        self.d = nn.Sequential(conv(h, h, 3, act=leaky), conv(h, h, 3, act=leaky))
        self.out = conv(4 * h, o, act=leaky)

    def forward(self, x):
        b = self.b(x)
        c = self.c(b)
        return self.out(torch.cat([self.d(c), c, b, self.a(x)], 1))


class Sppf(nn.Module):
    def __init__(self, c, act=nn.SiLU):
        super().__init__()
        self.a, self.b = conv(c, c // 2, act=act), conv(2 * c, c, act=act)

    def forward(self, x):
        x = self.a(x)
        y = F.max_pool2d(x, 5, 1, 2)
        z = F.max_pool2d(y, 5, 1, 2)
        return self.b(torch.cat([x, y, z, F.max_pool2d(z, 5, 1, 2)], 1))


class MpDown(nn.Module):
    """YOLOv7's halving: a max-pool beside a convolution of stride 2."""

    def __init__(self, c):
        super().__init__()
        h = c // 2
        self.a, self.b = conv(c, h, act=leaky), nn.Sequential(conv(c, h, act=leaky), conv(h, h, 3, 2, act=leaky))

    def forward(self, x):
        return torch.cat([self.b(x), self.a(F.max_pool2d(x, 2, 2))], 1)


class AnchorDetect(nn.Module):
    """YOLOv5's decoding (and, with implicit knowledge before and after the convolution, YOLOv7's):
    [N, 3 (h w), 5 + nc], boxes x, y, w, h in pixels."""

    def __init__(self, channels, nc, implicit, powers):
        super().__init__()
        self.nc, self.implicit, self.powers = nc, implicit, powers
        self.m = nn.ModuleList(nn.Conv2d(c, 3 * (nc + 5), 1) for c in channels)
        sizes = [[10, 13, 16, 30, 33, 23], [30, 61, 62, 45, 59, 119], [116, 90, 156, 198, 373, 326]]
        self.register_buffer("anchors", torch.tensor(sizes).float().view(3, 1, 3, 1, 1, 2))
        self.add = nn.ParameterList(torch.randn(1, c, 1, 1) * 0.1 for c in channels)
        self.mul = nn.ParameterList(1 + torch.randn(1, 3 * (nc + 5), 1, 1) * 0.1 for _ in channels)

    def level(self, i, x):
        y = self.m[i](x + self.add[i]) * self.mul[i] if self.implicit else self.m[i](x)
        n, _, h, w = y.shape
        y = y.view(n, 3, self.nc + 5, h, w).permute(0, 1, 3, 4, 2).contiguous()
        rows, cols = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((cols, rows), 2).view(1, 1, h, w, 2).float()
        stride = 8 << i
        y = y.sigmoid()
        if self.powers:
            xy, wh, conf = y.split((2, 2, self.nc + 1), 4)
        else:
            xy, wh, conf = y[..., 0:2], y[..., 2:4], y[..., 4:]
        xy = (xy * 2 + (grid - 0.5)) * stride if self.powers else (xy * 2.0 - 0.5 + grid) * stride
        wh = (wh * 2) ** 2 * self.anchors[i]
        return torch.cat((xy, wh, conf), 4).view(n, -1, self.nc + 5)

    def forward(self, levels):
        return torch.cat([self.level(i, x) for i, x in enumerate(levels)], 1)


class Pyramid(nn.Module):
    """Down to strides 8, 16, 32 and up again; `block`, `down` and `up` make it a family."""

    def __init__(self, stem, block, down, up, head, c=16):
        super().__init__()
        self.stem, self.head = stem, head
        self.down = nn.ModuleList(down(c << i, c << (i + 1)) for i in range(4))
        self.block = nn.ModuleList(block(c << (i + 1), c << (i + 1)) for i in range(4))
        self.spp = Sppf(c << 4)
        self.side = nn.ModuleList([conv(c << 4, c << 3), conv(c << 3, c << 2)])
        self.up = nn.ModuleList([up(c << 3), up(c << 2)])
        self.join = nn.ModuleList([block(c << 4, c << 3), block(c << 3, c << 2)])

    def forward(self, x):
        x, kept = self.stem(x), []
        for down, block in zip(self.down, self.block):
            x = block(down(x))
            kept.append(x)
        c5 = self.side[0](self.spp(x))
        c4 = self.join[0](torch.cat([self.up[0](c5), kept[2]], 1))
        p4 = self.side[1](c4)
        p3 = self.join[1](torch.cat([self.up[1](p4), kept[1]], 1))
        return self.head([p3, c4, c5])


def nearest(c):
    return nn.Upsample(scale_factor=2, mode="nearest")


def yolov5(focus):
    c = 16
    return Pyramid(Focus(c) if focus else nn.Sequential(nn.Conv2d(3, c, 6, 2, 2, bias=False), nn.BatchNorm2d(c), nn.SiLU()),
                   lambda i, o: nn.Sequential(C3(i), conv(i, o)), lambda i, o: conv(i, o, 3, 2), nearest,
                   AnchorDetect((4 * c, 8 * c, 8 * c), 80, False, focus), c)


def yolov7():
    c = 16
    stem = nn.Sequential(conv(3, c, 3, act=leaky), conv(c, c, 3, 2, act=leaky))
    down = lambda i, o: nn.Sequential(MpDown(i), conv(i, o, act=leaky))
    return Pyramid(stem, Elan, down, nearest, AnchorDetect((4 * c, 8 * c, 8 * c), 80, True, True), c)


# ---- YOLOv6 as its authors export it: decoded boxes, an object column of ones ----


class RepDeploy(nn.Module):
    def __init__(self, i, o, s=1):
        super().__init__()
        self.a = conv(i, o, 3, s, act=nn.ReLU)

    def forward(self, x):
        return self.a(x)


class DecoupledHead(nn.Module):
    """A branch for scores and one for boxes per level. `decode`: None (YOLOX's raw rows), "exp"
    (YOLOX decoded inside) or "distance" (YOLOv6)."""

    def __init__(self, channels, nc, decode):
        super().__init__()
        self.nc, self.decode = nc, decode
        self.stem = nn.ModuleList(conv(c, 32) for c in channels)
        self.cls = nn.ModuleList(nn.Sequential(conv(32, 32, 3), nn.Conv2d(32, nc, 1)) for _ in channels)
        self.reg = nn.ModuleList(nn.Sequential(conv(32, 32, 3), nn.Conv2d(32, 4, 1)) for _ in channels)
        self.obj = nn.ModuleList(nn.Conv2d(32, 1, 1) for _ in channels)

    def rows(self, i, x):
        x = self.stem[i](x)
        reg, obj = self.reg[i](x), self.obj[i](x).sigmoid()
        obj = torch.ones_like(obj) if self.decode == "distance" else obj
        return torch.cat([reg, obj, self.cls[i](x).sigmoid()], 1).flatten(2).permute(0, 2, 1)

    def forward(self, levels):
        y = torch.cat([self.rows(i, x) for i, x in enumerate(levels)], 1)
        if not self.decode:
            return y
        points, strides = [], []
        for i, x in enumerate(levels):
            h, w = x.shape[2:]
            rows, cols = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            points.append(torch.stack((cols, rows), -1).view(1, -1, 2).float())
            strides.append(torch.full((1, h * w, 1), float(8 << i)))
        grid, stride = torch.cat(points, 1), torch.cat(strides, 1)
        if self.decode == "exp":
            return torch.cat([(y[..., :2] + grid) * stride, y[..., 2:4].exp() * stride, y[..., 4:]], -1)
        lt, rb = y[..., :2], y[..., 2:4]
        a, b = grid + 0.5 - lt, grid + 0.5 + rb
        return torch.cat([(a + b) / 2 * stride, (b - a) * stride, y[..., 4:]], -1)


def yolov6():
    c = 16
    return Pyramid(RepDeploy(3, c, 2), RepDeploy, lambda i, o: RepDeploy(i, o, 2),
                   lambda n: nn.ConvTranspose2d(n, n, 2, 2), DecoupledHead((4 * c, 8 * c, 8 * c), 80, "distance"), c)


def yolox(decode):
    c = 16
    deep = lambda i, o: nn.Sequential(conv(i, i, 3, g=i), conv(i, o))
    return Pyramid(Focus(c), deep, lambda i, o: nn.Sequential(conv(i, i, 3, 2, i), conv(i, o)), nearest,
                   DecoupledHead((4 * c, 8 * c, 8 * c), 80, decode), c)


# ---- PicoDet, NanoDet-Plus, MobileNetV1 ----


class SqueezeExcite(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b = nn.Conv2d(c, c // 4, 1), nn.Conv2d(c // 4, c, 1)

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1)
        return x * F.hardsigmoid(self.b(F.relu(self.a(y))))


class EsBlock(nn.Module):
    """PicoDet's ESNet block: half of the channels pass, the others are worked on, then shuffled."""

    def __init__(self, c):
        super().__init__()
        h = c // 2
        self.a, self.dw, self.se = conv(h, h, act=nn.Hardswish), conv(h, h, 3, g=h, act=None), SqueezeExcite(2 * h)
        self.b = conv(2 * h, h, act=nn.Hardswish)

    def forward(self, x):
        left, right = x.chunk(2, 1)
        y = self.a(right)
        right = self.b(self.se(torch.cat([y, self.dw(y)], 1)))
        n, c, h, w = x.shape
        x = torch.cat([left, right], 1)
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def dp(i, o, k=5, s=1, act=nn.Hardswish):
    return nn.Sequential(conv(i, i, k, s, i, act=act), conv(i, o, act=act))


class GflHead(nn.Module):
    """Scores and distributions of distances. `joined`: NanoDet-Plus' one tensor [N, rows, nc + 32];
    else PicoDet's eight, scores first (a square root of class and quality in its training head)."""

    def __init__(self, c, levels, nc, joined):
        super().__init__()
        self.joined, self.nc = joined, nc
        self.tower = nn.ModuleList(dp(c, c) for _ in range(levels))
        self.out = nn.ModuleList(nn.Conv2d(c, nc + 32, 1) for _ in range(levels))

    def forward(self, levels):
        outs = [self.out[i](self.tower[i](x)) for i, x in enumerate(levels)]
        if self.joined:
            parts = [torch.cat([y[:, :self.nc].sigmoid(), y[:, self.nc:]], 1).flatten(2) for y in outs]
            return torch.cat(parts, 2).permute(0, 2, 1)
        rows = [y.flatten(2).permute(0, 2, 1) for y in outs]
        return tuple([y[..., :self.nc].sigmoid() for y in rows] + [y[..., self.nc:] for y in rows])


class Light(nn.Module):
    """Four levels: strides 8, 16, 32 and a fourth by a strided depthwise convolution."""

    def __init__(self, block, up, joined, c=48):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 24, 3, 2, act=nn.Hardswish), nn.MaxPool2d(3, 2, 1))
        self.stage = nn.ModuleList([nn.Sequential(dp(i, c, s=2), block(c), block(c)) for i in (24, c, c)])
        self.lateral = nn.ModuleList(conv(c, c, act=nn.Hardswish) for _ in range(3))
        self.top, self.join = nn.ModuleList([dp(2 * c, c), dp(2 * c, c)]), dp(c, c, s=2)
        self.up, self.head = up, GflHead(c, 4, 80, joined)

    def forward(self, x):
        x, kept = self.stem(x), []
        for stage, lateral in zip(self.stage, self.lateral):
            x = stage(x)
            kept.append(lateral(x))
        p5 = kept[2]
        p4 = self.top[0](torch.cat([self.up(p5, kept[1]), kept[1]], 1))
        p3 = self.top[1](torch.cat([self.up(p4, kept[0]), kept[0]], 1))
        return self.head([p3, p4, p5, self.join(p5)])


def picodet():
    return Light(EsBlock, lambda x, like: F.interpolate(x, scale_factor=2, mode="nearest"), False)


def nanodet_plus():
    up = lambda x, like: F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
    return Light(lambda c: nn.Sequential(conv(c, c, 3, g=c, act=leaky), conv(c, c, act=leaky)), up, True)


def mobilenet_v1():
    plan = [(16, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 2)]
    layers = [conv(3, 16, 3, 2, act=nn.ReLU6)]
    for i, o, s in plan:
        layers += [conv(i, i, 3, s, i, act=nn.ReLU6), conv(i, o, act=nn.ReLU6)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(256, 1000),
                         nn.Softmax(1))


class Ssd(nn.Module):
    """torchvision's SSDLite without its suppression: [1, N, 4] boxes by priors, [1, N, 91] scores."""

    def __init__(self):
        super().__init__()
        import torchvision

        self.net = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)

    def forward(self, x):
        from torchvision.models.detection.image_list import ImageList

        levels = list(self.net.backbone(x).values())
        head = self.net.head(levels)
        priors = self.net.anchor_generator(ImageList(x, [tuple(x.shape[2:])]), levels)[0]
        boxes = self.net.box_coder.decode_single(head["bbox_regression"][0], priors)
        return boxes.unsqueeze(0), torch.softmax(head["cls_logits"], -1)


OWN = {"yolov5-anchors": lambda: yolov5(False), "yolov5-focus": lambda: yolov5(True), "yolov7": yolov7,
       "yolov6-meituan": yolov6, "yolox-raw": lambda: yolox(None), "yolox-decoded": lambda: yolox("exp"),
       "ssdlite": Ssd, "picodet": picodet, "nanodet-plus": nanodet_plus, "mobilenet_v1": mobilenet_v1}


# ---- statistics and export ----


def pictures(n, size, mode):
    """Patches of 16 pixels, hard or smooth, and noise: [n, 3, size, size] in 0..1."""
    patches = F.interpolate(torch.rand(n, 3, size // 16, size // 16), size=size, mode=mode)
    return 0.8 * patches + 0.2 * torch.rand(n, 3, size, size)


def settle(net, name, size):
    """BatchNorm statistics from random pictures; spread scores; then evaluation mode."""
    torch.manual_seed(SEED)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 0.5
            m.weight.data.uniform_(0.8, 1.2)
            m.bias.data.uniform_(-0.2, 0.2)
    net.train()
    with torch.no_grad():
        for _ in range(6):
            net(prepare(name, torch.cat([pictures(2, size, "nearest"), pictures(2, size, "bilinear")])))
    return net.eval()


def spread_scores(net):
    """The last convolutions of a score branch: unit-variance-like weights and a bias near -2, so that
    a few per cent of the rows are above 0.25 whatever the seed."""
    for m in net.modules():
        for name in ("cv3", "one2one_cv3", "cls", "out", "m"):
            branch = getattr(m, name, None)
            if not isinstance(branch, nn.ModuleList):
                continue
            for level in branch:
                last = [c for c in level.modules() if isinstance(c, nn.Conv2d)][-1]
                if last.bias is not None:
                    last.weight.data.normal_(0, 1.2 / last.in_channels**0.5)
                    last.bias.data.normal_(-2, 0.5)


def ultralytics(name, folder, size, opset, **options):
    from ultralytics import YOLO, RTDETR

    torch.manual_seed(SEED)
    with contextlib.redirect_stdout(io.StringIO()):
        model = (RTDETR if "rtdetr" in name else YOLO)(name + ".yaml")
        if "rtdetr" not in name:
            spread_scores(model.model)
            settle(model.model, name, 64 if "cls" in name else 128)
        model.model.pt_path = os.path.join(folder, name + ".pt")
        made = model.export(format="onnx", imgsz=size, opset=opset, **options)
    return made


def torchvision_net(name):
    import torchvision

    return getattr(torchvision.models, name)(weights=None)


def torch_export(net, path, size, opset, dynamo=False, dynamic=False):
    axes = {"input": {0: "batch", 2: "height", 3: "width"}} if dynamic else None
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(net, (torch.rand(1, 3, size, size),), path, opset_version=opset, dynamo=dynamo,
                          input_names=["input"], **({} if dynamo else {"dynamic_axes": axes}))


MEAN, SPREAD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def prepare(name, x):
    """A picture in 0..1 as the family reads it, and as Crayon prepares pictures for it."""
    if name.startswith("yolox"):
        return x * 255
    if name.startswith("yolo") or name.startswith("rtdetr"):
        return x
    mean, spread = (MEAN.flip(0), SPREAD.flip(0)) if name.startswith("nanodet") else (MEAN, SPREAD)
    return (x - mean.view(1, 3, 1, 1)) / spread.view(1, 3, 1, 1)


def halve(path):
    """float16 weights and arithmetic, float32 inputs and outputs. Beside it, as NAME.float.onnx, what
    Crayon takes such a file for: the same weights, computed with in float32."""
    import onnx
    from onnx import numpy_helper
    from onnxruntime.transformers import float16

    model = onnx.load(path)
    onnx.save(float16.convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
    tensors = list(model.graph.initializer)
    tensors += [a.t for n in model.graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"]
    for t in tensors:
        if t.data_type == onnx.TensorProto.FLOAT:
            rounded = float16.convert_tensor_float_to_float16(onnx.TensorProto.FromString(t.SerializeToString()))
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(rounded).astype("float32"), t.name))
    onnx.save(model, path.replace(".onnx", ".float.onnx"))


def build(name, path, size, opset, half=False, dynamo=False, dynamic=False, **options):
    """Writes the model to `path`."""
    torch.manual_seed(SEED)
    if name.startswith(("yolov8", "yolov9", "yolov10", "yolo11", "yolo12", "yolo26", "rtdetr", "yolov3", "yolov6n",
                        "yolov5n")):
        made = ultralytics(name, os.path.dirname(path), size, opset, dynamic=dynamic, **options)
        shutil.move(made, path)
    else:
        net = OWN[name]() if name in OWN else torchvision_net(name)
        spread_scores(net)
        torch_export(settle(net, name, 128), path, size, opset, dynamo, dynamic)
    if half:
        halve(path)
