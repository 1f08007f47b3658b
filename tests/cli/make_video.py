"""Writes a video without any tool: make_video.py OUT.avi FPS PICTURE.jpg...

An AVI file of Motion JPEG: each frame is one of the JPEG files as it is, all of the same size. Layout:
RIFF 'AVI ' { LIST hdrl { avih, LIST strl { strh, strf } }, LIST movi { 00dc... }, idx1 }."""
import struct
import sys


def chunk(tag, data):
    return tag + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)


def group(kind, name, *parts):
    return chunk(kind, name + b"".join(parts))


def size_of(jpeg):
    """Width and height from the frame header (SOF0 to SOF2)."""
    at = 2
    while at + 9 <= len(jpeg):
        marker, length = jpeg[at + 1], struct.unpack(">H", jpeg[at + 2:at + 4])[0]
        if 0xC0 <= marker <= 0xC2:
            return struct.unpack(">HH", jpeg[at + 5:at + 9])[::-1]
        at += 2 + length
    sys.exit("no frame header")


def main():
    out, fps = sys.argv[1], int(sys.argv[2])
    frames = [open(name, "rb").read() for name in sys.argv[3:]]
    width, height = size_of(frames[0])
    n, most = len(frames), max(map(len, frames))
    header = struct.pack("<14I", 1000000 // fps, 0, 0, 0x10, n, 0, 1, most, width, height, 0, 0, 0, 0)
    stream = b"vidsMJPG" + struct.pack("<I2H8I4H", 0, 0, 0, 0, 1, fps, 0, n, most, 0xFFFFFFFF, 0, 0, 0,
                                       width, height)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", width * height * 3, 0, 0, 0, 0)
    index, at, movi = b"", 4, b""
    for jpeg in frames:
        index += b"00dc" + struct.pack("<3I", 0x10, at, len(jpeg))
        piece = chunk(b"00dc", jpeg)
        movi += piece
        at += len(piece)
    data = group(b"RIFF", b"AVI ",
                 group(b"LIST", b"hdrl", chunk(b"avih", header),
                       group(b"LIST", b"strl", chunk(b"strh", stream), chunk(b"strf", form))),
                 group(b"LIST", b"movi", movi), chunk(b"idx1", index))
    open(out, "wb").write(data)


main()
