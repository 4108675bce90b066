"""Pictures as no camera writes them, each made from a seed, and the one question to ask about each: is it used by
everything that opens pictures, or named by everything? `test_fuzz.py` asks about some, `bench/fuzz_pictures.py` about
ten thousand."""
import random
import struct
import zlib
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from fastai.data.core import Pipeline
from PIL import Image
from torch import nn
from watching import Watch

from petbreeds.blocks import PROFILES, pet_block, with_options
from petbreeds.pictures import FORMATS, PictureError, heif_at_hand, open_picture, picture_fault
from petbreeds.shipping import Run, predict
from petbreeds.shipping.pages import _thumbnail

USES = 5  # of each picture: see `uses_of`
SUFFIXES = {"JPEG": ("jpg", "jpeg", "jpe", "jfif"), "MPO": ("mpo", "jpg"), "PNG": ("png",), "WEBP": ("webp",),
            "GIF": ("gif",), "BMP": ("bmp",), "TIFF": ("tif", "tiff"), "AVIF": ("avif",), "HEIF": ("heic", "heif")}
MODES = {"JPEG": ("L", "RGB", "CMYK"), "MPO": ("L", "RGB"), "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
         "WEBP": ("RGB", "RGBA", "L"), "GIF": ("1", "L", "P", "RGB", "RGBA"), "BMP": ("1", "L", "P", "RGB", "RGBA"),
         "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
         "AVIF": ("L", "RGB", "RGBA"), "HEIF": ("L", "RGB", "RGBA")}
SIDES = (1, 2, 3, 7, 8, 15, 16, 17, 31, 64, 65, 100, 255, 256, 640)


# Pictures

def pixels(rng):
    "A picture of an odd size: noise, a slope, or one colour."
    width, height = rng.choice(SIDES), rng.choice(SIDES)
    if rng.random() < 0.02:  # a strip
        width, height = rng.choice([(20_000, 1), (1, 20_000), (9_000, 300)])
    noise = np.random.default_rng(rng.randrange(2**32))
    kind = rng.randrange(3)
    if kind == 0:
        values = noise.integers(0, 256, (height, width, 4), dtype="uint8")
    elif kind == 1:
        x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
        values = np.dstack([x, y, (x + y) / 2, 255 - x / 2]).astype("uint8")
    else:
        values = np.full((height, width, 4), noise.integers(0, 256, 4), dtype="uint8")
    return Image.fromarray(values)


def in_mode(picture, mode):
    "The same in another mode."
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype("uint16") * 257)
    if mode == "LA":
        return picture.convert("LA")
    return picture if mode == "RGBA" else picture.convert("RGB").convert(mode)


def options_for(kind, rng):
    "How a program may write this format."
    exif = Image.Exif()
    if rng.random() < 0.5:
        exif[0x0112] = rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 65535])
    choices = {
        "JPEG": dict(quality=rng.choice([1, 30, 95]), progressive=rng.random() < 0.5, exif=exif,
                     subsampling=rng.choice([0, 1, 2]), restart_marker_blocks=rng.choice([0, 1])),
        "PNG": dict(compress_level=rng.choice([0, 1, 9]), exif=exif),
        "WEBP": dict(lossless=rng.random() < 0.5, exif=exif),
        "TIFF": dict(compression=rng.choice([None, "tiff_lzw", "tiff_adobe_deflate", "packbits"]), exif=exif),
        "GIF": dict(interlace=rng.random() < 0.5), "AVIF": dict(speed=10, exif=exif.tobytes()),
        "HEIF": dict(quality=50, exif=exif.tobytes())}
    return choices.get(kind, {})


def whole_file(rng, kinds):
    "A picture in one of the formats, as a program writes it: format and bytes."
    kind = rng.choice(kinds)
    picture = in_mode(pixels(rng), rng.choice(MODES[kind]))
    if kind in ("AVIF", "HEIF") and min(picture.size) < 16:  # their encoders take no smaller ones
        picture = picture.resize((max(16, picture.width), max(16, picture.height)))
    options = options_for(kind, rng)
    if kind in ("GIF", "PNG", "WEBP", "MPO", "TIFF") and rng.random() < 0.15:
        options.update(save_all=True, append_images=[picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)] * 2)
    out = BytesIO()
    try:
        picture.save(out, kind, **options)
    except Exception:  # a size or a combination that this encoder refuses
        out = BytesIO()
        picture.convert("RGB").resize((64, 48)).save(out, kind)
    return kind, out.getvalue()


# Damage: functions of the bytes and of random numbers

def flipped(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 100])):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(len(data), 200))
        data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def cut_short(data, rng):
    return data[:rng.randrange(len(data))]


def longer(data, rng):
    return data + rng.randbytes(rng.choice([1, 100, 5000]))


def gap(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.choice([1, 2, 4, 100]):]


def inserted(data, rng):
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(rng.choice([1, 4, 64])) + data[at:]


def other_header(data, rng):
    "The beginning of another format before these bytes, or in their place."
    start = rng.choice([b"\xff\xd8\xff\xe0\0\x10JFIF\0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
                        b"RIFF\0\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x1cftypavif",
                        b"%!PS-Adobe-3.0 EPSF-3.0\n", b"%PDF-1.4", b"<svg ", b"P6\n9 9\n255\n", b"PK\3\4", b"\0" * 20])
    return start + (data if rng.random() < 0.5 else data[len(start):])


def huge_number(data, rng):
    "A number near the beginning, where sizes and offsets stand, becomes very large."
    at = rng.randrange(min(len(data), 120))
    number = rng.choice([0, 1, 0x7FFF, 0xFFFF, 9500, 30_000, 0x7FFFFFFF, 0xFFFFFFFF])
    packed = struct.pack(rng.choice("<>") + rng.choice("HI"), number & 0xFFFF) if number < 2**16 else \
        struct.pack(rng.choice("<>") + "I", number)
    return data[:at] + packed + data[at + len(packed):]


def planted_metadata(data, rng):
    "Notes of cameras and programs that are nonsense, or large, or about another picture."
    entry = struct.pack("<HHI", rng.choice([0x0112, 0x8769, 0x8825, 0x010F, 0xA005]), rng.randrange(14),
                        rng.choice([0, 1, 2**31])) + rng.randbytes(4)
    exif = b"II*\0" + struct.pack("<IH", rng.choice([8, 0, 2**31]), rng.choice([1, 500])) + entry
    if data.startswith(b"\x89PNG"):
        name = rng.choice([b"eXIf", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"pHYs", b"gAMA", b"tRNS", b"acTL", b"cHRM"])
        body = rng.choice([exif, b"", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 9\n00zz"),
                           b"a\0\0" + zlib.compress(b"meow" * 2**18), b"XML:com.adobe.xmp\0\0\0\0\0<x",
                           rng.randbytes(9)])
        chunk = struct.pack(">I", len(body)) + name + body
        return data[:33] + chunk + struct.pack(">I", zlib.crc32(name + body)) + data[33:]
    if data.startswith(b"\xff\xd8"):
        marker = rng.choice([0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE])
        body = rng.choice([b"Exif\0\0" + exif, b"ICC_PROFILE\0\1\1" + rng.randbytes(50), b"MPF\0" + exif,
                           b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='7'>", rng.randbytes(30),
                           b"Photoshop 3.0\x008BIM" + b"\xff" * 9])
        return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]
    return data + exif


DAMAGE = (flipped, flipped, cut_short, longer, gap, inserted, other_header, huge_number, planted_metadata)


def odd_picture(seed):
    "Format, extension (which sometimes lies) and bytes of the picture with this seed."
    rng = random.Random(f"picture {seed}")
    kinds = ["JPEG", "MPO", *(name for name in FORMATS if name != "JPEG"), *(["HEIF"] if heif_at_hand() else [])]
    kind, data = whole_file(rng, kinds)
    suffix = rng.choice(SUFFIXES[kind]) if rng.random() < 0.9 else rng.choice(("jpg", "png", "tiff", "heic"))
    for _ in range(rng.choice([0, 1, 1, 1, 2])):
        if data:
            data = rng.choice(DAMAGE)(data, rng)
    return kind, suffix, data


# The question

def small_run():
    "A run whose network is as small as can be: pictures are opened and prepared as for any other."
    torch.manual_seed(0)
    profile = with_options(PROFILES["folder"], size=48)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    about = {"profile": asdict(profile), "normalisation": None, "vocabulary": ["Bengal", "pug"]}
    return Run(Path("none"), about, model)


def uses_of(run, file, data):
    "What each part of the package makes of a picture: 'used' or the fault."
    item = Pipeline([*pet_block(run.profile).type_tfms[0], *pet_block(run.profile).item_tfms], split_idx=0)
    fault = picture_fault(data, file.suffix)
    found = {"audit": "used" if fault is None or fault[0] == "wrong format" else fault[0]}
    for name, use in (("whole", lambda: open_picture(file)), ("training", lambda: item(file))):
        try:
            use()
            found[name] = "used"
        except PictureError as error:
            found[name] = error.fault
    answer = predict(run, file, k=1)[0]
    found["prediction"] = "used" if answer.top else answer.problem.split(" (")[0].split(";")[0]
    found["report"] = "used" if _thumbnail(file.parent, file.name) else "named"
    return found


def judged(run, folder, seed):
    "What happened to one picture: its outcome ('used', or the fault that all name), what was wrong, seconds and MB."
    kind, suffix, data = odd_picture(seed)
    file = Path(folder) / f"pug_{seed}.{suffix}"
    file.write_bytes(data)
    found = {}
    with Watch(USES) as watch:
        found = uses_of(run, file, data)
    outcomes = {value for name, value in found.items() if name != "report"}
    if found and (len(outcomes) != 1 or (found["report"] == "used") != (outcomes == {"used"})):
        watch.wrong = watch.wrong or f"disagreement: {found}"
    file.unlink()
    return {"seed": seed, "kind": kind, "outcome": found.get("whole", "none"), **watch.facts}
