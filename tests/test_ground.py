"What the rooms of the ground floor must stand that a notebook cannot show: kills, full disks, odd files."
import json
import os
import pickle
import signal
import stat
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from petbreeds import experiments, figures, files, pictures
from petbreeds.experiments import read_bundle, repeat, summarise, write_bundle
from petbreeds.files import PetsError, first_line, home_folder, write_whole
from petbreeds.pictures import ADVICE, PictureError, open_picture, picture_fault

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest undoes the filter that `pictures` sets
few_examples = settings(max_examples=40, deadline=None, derandomize=True)
posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")


def start(code, *arguments):
    "A Python process that runs `code`."
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# Files

WRITER = """
import sys
from petbreeds.files import write_whole
file, letter, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
for _ in range(times):
    write_whole(file, letter.encode() * 3_000_000, durable=False)
"""


def is_whole(file, letters):
    "Whether a file holds one of the contents that were written to it."
    return file.read_bytes() in [letter.encode() * 3_000_000 for letter in letters]


@posix
def test_a_killed_writer_leaves_the_file_whole(tmp_path):
    file = tmp_path / "checkpoint"
    write_whole(file, b"a" * 3_000_000)
    for delay in (0.001, 0.004, 0.011):
        writer = start(WRITER, file, "b", 100_000)
        writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.communicate()
        assert writer.returncode == -signal.SIGKILL  # it was still writing
        assert is_whole(file, "ab")


def test_two_writers_do_not_mix(tmp_path):
    file = tmp_path / "checkpoint"
    writers = [start(WRITER, file, letter, 40) for letter in "ab"]
    for writer in writers:
        assert writer.communicate()[1] == ""
        assert writer.returncode == 0
    assert is_whole(file, "ab")
    assert os.listdir(tmp_path) == ["checkpoint"]


@posix
def test_a_full_disk_changes_nothing(tmp_path):
    file = tmp_path / "run.json"
    file.write_text("as it was")
    code = """
import resource, sys
from petbreeds.files import first_line, write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    write_whole(sys.argv[1], b"x" * 5000)
except OSError as error:
    print(first_line(error))
"""
    assert start(code, file).communicate() == ("File too large\n", "")
    assert file.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["run.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_an_interrupted_write_cleans_up(tmp_path, monkeypatch, where, error):
    def interrupt(*_):
        raise error

    file = tmp_path / "run.json"
    file.write_text("as it was")
    monkeypatch.setattr(os, where, interrupt)
    with pytest.raises(error):
        write_whole(file, "new")
    assert file.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["run.json"]


@posix
def test_a_durable_write_waits_for_file_and_folder(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(*paths):
        order.append("rename")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_whole(tmp_path / "a", b"durable")
    assert order == ["file", "rename", "folder"]
    order.clear()
    write_whole(tmp_path / "a", b"not durable", durable=False)
    assert order == ["rename"]


def test_a_scratch_folder_takes_the_temporary_file(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda part, path: (seen.append(Path(part).parent), replace(part, path)))
    write_whole(tmp_path / "a", b"x", scratch=scratch)
    assert seen == [scratch]
    assert (tmp_path / "a").read_bytes() == b"x"
    assert not os.listdir(scratch)


@posix
def test_names_and_contents_that_are_not_utf_8_survive(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    write_whole(tmp_path / odd, odd)
    assert (tmp_path / odd).read_bytes() == b"caf\xe9"
    longest = tmp_path / ("ä" * 120)  # 240 bytes; the file system allows 255
    write_whole(longest, "x")
    assert longest.read_text() == "x"


@posix
def test_a_new_file_can_be_read_by_others(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@posix
def test_a_user_without_name_and_home_has_a_folder(monkeypatch, tmp_path):
    import pwd

    def nobody(uid):
        raise KeyError(uid)

    for name in ("HOME", "PETBREEDS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    home = home_folder()
    assert home.is_absolute()
    assert "~" not in str(home)
    assert str(os.getuid()) in home.name  # two such users do not share it
    with pytest.raises(PetsError, match="give a path without ~"):
        home_folder("~/pets")
    monkeypatch.setenv("PETBREEDS_HOME", "~/pets")
    with pytest.raises(PetsError, match="set HOME"):
        home_folder()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home_folder() == tmp_path / "pets"
    assert home_folder(tmp_path / "given") == tmp_path / "given"


def test_home_is_the_cache_of_the_system(monkeypatch, tmp_path):
    import pooch

    monkeypatch.delenv("PETBREEDS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert home_folder() == Path(pooch.os_cache("petbreeds"))


REFUSED = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in certificate chain"


def test_a_certificate_that_is_not_trusted_is_called_so(tmp_path, monkeypatch):
    "Behind a proxy with a certificate of its own, for the photographs and for weights."
    from requests.exceptions import SSLError

    from petbreeds.layout import DataError, get_pets

    def refuse(*args):
        raise SSLError(f"HTTPSConnectionPool(host='x', port=443): Max retries exceeded (Caused by {REFUSED})")
    monkeypatch.setattr("petbreeds.layout.archive._append", refuse)
    monkeypatch.setattr("petbreeds.layout.archive._refuse_without_room", lambda *args: None)
    with pytest.raises(DataError) as error:
        get_pets("oxford", home=tmp_path)
    said = str(error.value)
    assert "certificate is not trusted" in said and "REQUESTS_CA_BUNDLE" in said and "no connection" not in said
    assert len(said.splitlines()) == 1


def test_weights_behind_such_a_proxy(monkeypatch):
    import ssl
    import urllib.error
    import urllib.request

    from petbreeds import networks

    def refuse(*args, **options):
        raise urllib.error.URLError(ssl.SSLCertVerificationError(1, REFUSED))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)

    def fetch():
        return urllib.request.urlopen("https://example.org")
    with pytest.raises(networks.NetworkError, match="certificate is not trusted; .* SSL_CERT_FILE"):
        networks._downloaded("resnet34", "https://example.org", fetch)


@posix
def test_what_a_killed_writer_left_is_found(tmp_path):
    writer = start(WRITER.replace("import sys", "import os, sys; os.replace = lambda *paths: os._exit(1)"),
                   tmp_path / ("ä" * 90), "b", 1)
    writer.communicate()
    (tmp_path / ".hidden.part").write_text("somebody else's")
    (tmp_path / "video.0123456789ab.part").write_text("somebody else's")
    (found,) = files.left_over(tmp_path)
    assert found.stat().st_size == 3_000_000 and len(os.listdir(tmp_path)) == 3


@given(st.text(max_size=300))
@few_examples
def test_an_error_is_one_short_line(said):
    line = first_line(RuntimeError(said))
    assert line
    assert len(line.splitlines()) == 1
    assert len(line) <= files.LONGEST


@pytest.mark.parametrize("module, heavy", [
    ("files", ["PIL", "numpy", "pooch", "torch", "fastai"]),
    ("pictures", ["numpy", "scipy", "pooch", "torch", "fastai"]),
    ("intervals", ["torch", "fastai", "matplotlib"]),
    ("figures", ["torch", "fastai", "pandas"]),
    ("experiments", ["torch", "fastai", "matplotlib"])])
def test_a_room_of_the_ground_floor_imports_little(module, heavy):
    code = f"import sys, petbreeds.{module}; print([name for name in {heavy} if name in sys.modules])"
    assert start(code).communicate() == ("[]\n", "")


# Pictures

def as_file(picture, kind="PNG", **options):
    "A picture as the contents of a file."
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def photo(width=24, height=16):
    "A picture in which every corner looks different."
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.dstack([x, y, (x + y) / 2]).astype("uint8"))


def png_with(chunk, data, where=33):
    "A PNG with one more chunk, after its header unless told otherwise."
    whole = as_file(photo())
    added = struct.pack(">I", len(data)) + chunk + data + struct.pack(">I", zlib.crc32(chunk + data))
    return whole[:where] + added + whole[where:]


def exif_entries(*entries):
    "EXIF with entries (tag, type, count, four bytes of value), little-endian."
    body = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + b"\0\0\0\0"


def jpeg_with(segment):
    "A JPEG with one more segment of camera data, right after its start."
    whole = as_file(photo(), "JPEG")
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + whole[2:]


MODES = [mode for mode in Image.MODES if mode not in ("BGR;15", "BGR;16", "BGR;24")]


@given(st.sampled_from(MODES), st.integers(1, 9), st.integers(1, 9))
@few_examples
def test_every_mode_of_pillow_becomes_rgb(mode, width, height):
    opened = open_picture(Image.new(mode, (width, height)))
    assert (opened.mode, opened.size) == ("RGB", (width, height))


STORED = [(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")]
STORED += [(mode, "TIFF") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB")]
STORED += [(mode, "TIFF") for mode in ("I;16", "I;16B", "I", "F")]
STORED += [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "WEBP"), ("P", "GIF"), ("1", "BMP"), ("L", "BMP")]


@pytest.mark.parametrize("mode, kind", STORED)
def test_every_mode_in_a_file_becomes_rgb(mode, kind):
    data = as_file(Image.new(mode, (5, 4)), kind)
    assert (open_picture(data).mode, open_picture(data).size) == ("RGB", (5, 4))
    assert picture_fault(data, f".{kind.lower()}") is None


def greys(values, dtype, kind="TIFF"):
    "What is seen of a row of grey values in a file."
    data = as_file(Image.fromarray(np.array([values], dtype=dtype)), kind)
    return np.asarray(open_picture(data))[0, :, 0].tolist()


def test_deep_grey_is_scaled_and_not_cut():
    assert greys([0, 257, 32896, 65535], "uint16") == [0, 1, 128, 255]
    assert greys([0, 257, 32896, 65535], "uint16", "PNG") == [0, 1, 128, 255]
    assert greys([0, 200], "uint16") == [0, 1]  # nearly black, and stays so
    assert greys([0, 100, 255], "int32") == [0, 100, 255]
    assert greys([0, 32896, 65535], "int32") == [0, 128, 255]
    assert greys([-5, 0, 2**30], "int32") == [0, 0, 255]
    assert greys([0, 0.5, 1], "float32") == [0, 128, 255]
    assert greys([0, 100, 255], "float32") == [0, 100, 255]


def tiff(*changes, values=(0, 2048, 4095)):
    "A TIFF with a row of 16-bit grey, some of its entries (tag, value) changed."
    data = bytearray(as_file(Image.fromarray(np.array([values], dtype="uint16")), "TIFF", tiffinfo={274: 1}))
    start = struct.unpack("<I", data[4:8])[0]
    for number in range(struct.unpack("<H", data[start:start + 2])[0]):
        at = start + 2 + 12 * number
        for tag, value in changes:
            if data[at:at + 2] == struct.pack("<H", tag):
                data[at + 8:at + 10] = struct.pack("<H", value)
    return bytes(data)


def test_grey_of_scanners():
    "12 bits in the place of 16, and grey that counts from white to black."
    assert np.asarray(open_picture(tiff((262, 0), values=(0, 32896, 65535))))[0, :, 0].tolist() == [255, 127, 0]
    twelve = tiff((258, 12), values=(0xFFFF, 0x0F00, 0))  # the reader takes three bytes for two pixels
    assert np.asarray(open_picture(twelve))[0].max() == 255
    turned = open_picture(tiff((262, 0), (274, 6), values=(0, 32896, 65535)))
    assert np.asarray(turned)[:, 0, 0].tolist() == [255, 127, 0]


def test_numbers_that_are_none_do_no_harm():
    assert len(greys([np.nan, 0, 1], "float32")) == 3
    assert len(greys([np.inf, -np.inf], "float32")) == 2


def test_transparent_becomes_white_in_every_form():
    clear = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 0, 0] * 2)
    forms = [as_file(clear), as_file(clear, "WEBP", lossless=True), as_file(clear.convert("LA")),
             as_file(palette, transparency=0), as_file(palette, transparency=b"\0\0"),
             as_file(palette, "GIF", transparency=0),
             as_file(Image.new("RGB", (2, 1), (200, 0, 0)), transparency=(200, 0, 0)),
             as_file(Image.new("L", (2, 1), 7), transparency=7)]
    for data in forms:
        assert open_picture(data).getpixel((0, 0)) == (255, 255, 255)
    half = open_picture(as_file(Image.new("RGBA", (1, 1), (0, 0, 0, 128))))
    assert half.getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", *pictures._AVIF])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = as_file(photo(), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    opened = open_picture(data)
    assert opened.size == upright.size
    assert opened.tobytes() == upright.tobytes()
    assert open_picture(opened).tobytes() == opened.tobytes()  # and are not turned again
    assert ImageOps.exif_transpose(opened).size == opened.size


@pytest.mark.parametrize("data", [
    jpeg_with(b"Exif\0\0not EXIF at all"),
    jpeg_with(b"Exif\0\0" + exif_entries((0x0112, 2, 1, b"6\0\0\0"))),  # the orientation as a letter
    jpeg_with(b"Exif\0\0" + exif_entries((0x0112, 3, 1, struct.pack("<HH", 99, 0)))),  # and as no orientation
    jpeg_with(b"Exif\0\0" + exif_entries((0x8769, 4, 1, struct.pack("<I", 2**31)))),  # more entries, far outside
    jpeg_with(b"Exif\0\0II*\0" + b"\xff" * 40),
    png_with(b"eXIf", b"not EXIF at all"),
    png_with(b"eXIf", b""),
    png_with(b"zTXt", b"Comment\0\0" + zlib.compress(b"meow" * 2**20)),
    png_with(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='?'"),
    png_with(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 8\n00zz")),
    png_with(b"iCCP", b"profile\0\0no zlib"),
    png_with(b"pHYs", b"\0"),
    png_with(b"gAMA", b""),
], ids=lambda data: data[:4].hex() + str(len(data)))
def test_broken_metadata_do_not_lose_the_picture(data):
    opened = open_picture(data)
    assert opened.size == photo().size
    assert np.abs(np.asarray(opened, dtype=int) - np.asarray(photo(), dtype=int)).max() < 40  # a JPEG has losses
    assert picture_fault(data, ".png" if data[:4] == b"\x89PNG" else ".jpg") is None


def test_an_odd_entry_does_not_hide_the_orientation():
    wrong = (0x010F, 3, 1, b"\1\0\0\0")  # the maker of the camera as a number: exif_transpose fails on it
    sideways = (0x0112, 3, 1, struct.pack("<HH", 6, 0))
    data = jpeg_with(b"Exif\0\0" + exif_entries(wrong, sideways))
    assert open_picture(data).size == (16, 24)


@pytest.mark.parametrize("data, fault, detail", [
    (b"", "zero bytes", "empty file"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n", "not an image", "PostScript"),
    (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "not an image", "a film"),
    (b"<!DOCTYPE html><p>404", "not an image", "a web page"),
    (b"P6 2 2 255 " + b"x" * 12, "not an image", "no picture format"),  # PPM: Pillow would read it
    (as_file(photo())[:20], "corrupt", ""),
    (as_file(photo(), "JPEG")[:300], "corrupt", ""),
    (b"GIF89a", "corrupt", "")])
def test_what_is_no_picture_is_refused(tmp_path, data, fault, detail):
    file = tmp_path / "pug_1.jpg"
    file.write_bytes(data)
    with pytest.raises(PictureError) as refused:
        open_picture(file)
    message = str(refused.value)
    assert refused.value.fault == fault
    assert detail in refused.value.detail
    assert message.startswith(f"{file}: {fault}")
    assert message.endswith(ADVICE[fault])
    assert "\n" not in message
    assert picture_fault(data, ".jpg") == (fault, refused.value.detail)


WHOLE = [as_file(photo(), kind) for kind in pictures.FORMATS]


@given(st.sampled_from(WHOLE), st.floats(0, 1), st.binary(max_size=12), st.booleans())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_damage_of_any_kind_is_a_picture_or_a_picture_error(whole, share, garbage, cut):
    at = int(share * len(whole))
    data = whole[:at] + garbage + (b"" if cut else whole[at + len(garbage):])
    fault = picture_fault(data, ".jpg")
    try:
        opened = open_picture(data)
    except PictureError as error:
        assert fault == (error.fault, error.detail)
        assert error.fault in ADVICE
    else:
        assert opened.mode == "RGB"
        assert fault is None or fault[0] == "wrong format"


@given(st.sampled_from(WHOLE), st.integers(0, 10**6), st.integers(0, 255))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_changed_byte_is_a_picture_or_a_picture_error(whole, at, value):
    data = bytearray(whole)
    data[at % len(whole)] = value
    try:
        assert open_picture(data).mode == "RGB"
    except PictureError as error:
        assert error.fault in ADVICE


def heic(picture, **options):
    "A picture as a phone stores it."
    pytest.importorskip("pillow_heif")
    assert pictures.heif_at_hand()
    return as_file(picture, "HEIF", **options)


@pytest.fixture
def no_heic_reader(monkeypatch):
    "As if pillow-heif were not installed."
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    pictures.heif_at_hand.cache_clear()
    yield
    pictures.heif_at_hand.cache_clear()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_read_and_stands_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = heic(photo(96, 64), quality=-1, exif=exif.tobytes())
    stored = BytesIO(as_file(photo(96, 64), exif=exif))
    upright = ImageOps.exif_transpose(Image.open(stored)).convert("RGB")
    opened = open_picture(data)
    assert opened.size == upright.size
    assert np.abs(np.asarray(opened, dtype=int) - np.asarray(upright, dtype=int)).max() < 12
    assert picture_fault(data, ".heic") is picture_fault(data, ".HEIF") is None
    assert picture_fault(data, ".jpg") == ("wrong format", "HEIF named .jpg")


def test_heic_is_not_taken_from_its_preview():
    "Its reader would take the preview that a phone stores beside the picture for a smaller decoding."
    heif = pytest.importorskip("pillow_heif")
    file = heif.from_pillow(photo(512, 320))
    out = BytesIO()
    file.save(out, thumbnails=[128])
    assert open_picture(out.getvalue(), 64).size == (512, 320)


def test_a_damaged_heic_is_named_as_one():
    data = heic(photo(96, 64))
    for cut in (40, len(data) // 2, len(data) - 9):
        fault, detail = picture_fault(data[:cut], ".heic")
        assert fault == "corrupt", detail


def test_heic_without_its_reader_says_what_to_install(no_heic_reader, tmp_path):
    data = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 99
    assert not pictures.heif_at_hand()
    assert picture_fault(data, ".heic")[0] == "no reader"
    (tmp_path / "pug_1.heic").write_bytes(data)
    with pytest.raises(PictureError, match=r'pip install "petbreeds\[heic\]"'):
        open_picture(tmp_path / "pug_1.heic")


def test_avif_without_its_reader_says_what_to_install(monkeypatch):
    data = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 99
    monkeypatch.setattr(pictures, "_AVIF", ())
    monkeypatch.setattr(pictures, "FORMATS", ("JPEG",))
    assert picture_fault(data, ".avif") == ("no reader", "AVIF, which Pillow reads from 11.3 on")


def test_strips_do_not_show(monkeypatch):
    "A large picture is converted in strips; here a small one is, in every mode and turned."
    exif = Image.Exif()
    exif[0x0112] = 8
    colours = photo(37, 23)
    clear = colours.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(colours.size))
    forms = [as_file(colours.convert(mode), "TIFF", exif=exif) for mode in ("1", "L", "P", "RGB", "CMYK", "LAB", "F")]
    forms += [as_file(clear, exif=exif), as_file(colours.convert("L").convert("I;16"), exif=exif),
              as_file(colours.convert("P"), transparency=3), as_file(colours, transparency=colours.getpixel((5, 5)))]
    whole = [open_picture(data).tobytes() for data in forms]
    monkeypatch.setattr(pictures, "LARGE", 100)
    assert [open_picture(data).tobytes() for data in forms] == whole
    monkeypatch.setattr(pictures, "LARGE", 5)  # less than a row
    assert [open_picture(data).tobytes() for data in forms] == whole
    for size in (1, 5, 11, 12, 23, 99):
        assert min(open_picture(forms[0], size).size) >= min(size, 23)


@posix
def test_a_large_picture_costs_less_than_a_gigabyte_and_five_seconds():
    "Sixty million pixels with transparency, on their side: the worst that a file of a few kilobytes can do."
    code = """
import time
from io import BytesIO
from pathlib import Path
from PIL import Image
from petbreeds.pictures import open_picture
def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
exif = Image.Exif()
exif[0x0112] = 6
file = BytesIO()
Image.new("RGBA", (7000, 8571), (1, 2, 3, 4)).save(file, "PNG", exif=exif, compress_level=1)
data = file.getvalue()
Path("/proc/self/clear_refs").write_text("5")  # forget the most that was used so far
before = memory("VmRSS")
start = time.process_time()
size = open_picture(data).size
print(size, memory("VmHWM") - before < 1000, time.process_time() - start < 5)
"""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells how much memory was used")
    assert start(code).communicate() == ("(8571, 7000) True True\n", "")


def test_large_pictures_wait_for_each_other_and_small_ones_do_not(monkeypatch):
    monkeypatch.setattr(pictures, "LARGE", 100)
    data, small = as_file(photo(37, 23)), as_file(photo(9, 9))
    busy = []
    convert = pictures._converted

    def noted(picture, scale):
        busy.append(pictures._turn.lock.locked())
        return convert(picture, scale)
    monkeypatch.setattr(pictures, "_converted", noted)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(open_picture, [data] * 8))
    assert busy == [True] * 8
    with pictures._turn.lock:
        assert open_picture(small).size == (9, 9)
        if hasattr(os, "fork"):  # a child process does not wait for a thread that it does not have
            child = os.fork()
            if child == 0:
                open_picture(data)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("path", [as_file(Image.new("1", (9500, 9500))), as_file(photo(), "TIFF")[:-8] + b"\xff" * 8,
                                  as_file(photo(), "TIFF", compression="packbits")[:-300] + b"\x7f" * 300,
                                  as_file(photo(), "TIFF").replace(struct.pack("<HHI", 277, 3, 1),
                                                                   struct.pack("<HHI", 277, 3, 9))])
def test_no_picture_makes_a_noise(path, tmp_path):
    "Whatever the file holds, what is to be said is in the exception, and stderr stays empty."
    file = tmp_path / "pug_1.tif"
    file.write_bytes(path)
    code = """
import sys
from petbreeds.pictures import PictureError, open_picture
try:
    open_picture(sys.argv[1])
except PictureError:
    pass
"""
    assert start(code, file).communicate() == ("", "")


@pytest.mark.parametrize("mode, said", [("r", 'with mode "rb"'), ("wb", "unreadable"), ("closed", "unreadable")])
def test_an_open_file_that_gives_no_bytes(tmp_path, mode, said):
    file = tmp_path / "pug_1.png"
    file.write_bytes(as_file(photo()))
    with open(file, "rb" if mode == "closed" else mode, **({"encoding": "latin-1"} if mode == "r" else {})) as stream:
        if mode == "closed":
            stream.close()
        with pytest.raises(PictureError, match=said):
            open_picture(stream)


def test_small_files_that_are_huge_in_memory_are_refused():
    over = as_file(Image.new("1", (9500, 9500)))
    twice = as_file(Image.new("1", (14000, 14000)))
    assert picture_fault(over, ".png") == ("absurdly large", "9500 x 9500 pixels")
    assert picture_fault(twice, ".png")[0] == "absurdly large"
    with pytest.raises(PictureError, match="9500 x 9500"):
        open_picture(Image.open(BytesIO(over)))


def test_a_file_that_is_huge_is_not_read(tmp_path):
    file = tmp_path / "pug_1.jpg"
    with open(file, "wb") as sparse:
        sparse.truncate(pictures.MAX_BYTES + 1)
    with pytest.raises(PictureError, match="absurdly large"):
        open_picture(file)


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".jfif", ".jpe", "jpg"])
def test_a_jpeg_has_many_names(suffix):
    assert picture_fault(as_file(photo(), "JPEG"), suffix) is None


def test_a_jpeg_with_more_pictures_behind_it_is_a_jpeg():
    data = as_file(photo(), "MPO", save_all=True, append_images=[photo()])
    assert Image.open(BytesIO(data)).format == "MPO"
    assert open_picture(data).size == photo().size
    assert picture_fault(data, ".jpg") is None


@pytest.mark.parametrize("size", [1, 100, 160, 333, 5000])
def test_a_smaller_decoding_is_never_smaller_than_asked(size):
    data = as_file(photo(640, 400), "JPEG")
    opened = open_picture(data, size)
    assert min(opened.size) >= min(size, 400)
    assert opened.width / opened.height == pytest.approx(1.6, rel=0.02)


def test_a_picture_comes_in_many_forms(tmp_path):
    file = tmp_path / "pug_1.png"
    file.write_bytes(as_file(photo()))
    with open(file, "rb") as stream:
        forms = [file, str(file), file.read_bytes(), bytearray(file.read_bytes()), memoryview(file.read_bytes()),
                 BytesIO(file.read_bytes()), stream, Image.open(file), photo(), np.asarray(photo())]
        for form in forms:
            assert open_picture(form).tobytes() == photo().tobytes()
    grey = np.arange(6, dtype="uint8").reshape(2, 3)
    assert open_picture(grey).size == (3, 2)
    assert open_picture(grey[:, :, None]).getpixel((2, 1)) == (5, 5, 5)
    assert open_picture(np.zeros((2, 3, 4), dtype="uint8")).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("odd", [
    None, 7, ["a.jpg"], np.zeros((2, 2)), np.zeros((2, 2, 7), dtype="uint8"), np.zeros(3, dtype="uint8"),
    np.zeros((0, 4, 3), dtype="uint8"), Image.new("RGB", (0, 3)), "no/such.jpg", "nul\0.jpg", "", Path("/")])
def test_what_cannot_be_a_picture_is_refused_in_one_line(odd):
    with pytest.raises(PictureError) as refused:
        open_picture(odd)
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.fault in ADVICE


@posix
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pug_1.jpg")
    with pytest.raises(PictureError, match="no regular file"):
        open_picture(tmp_path / "pug_1.jpg")


def test_the_callers_picture_stays_as_it_was():
    exif = Image.Exif()
    exif[0x0112] = 6
    own = Image.open(BytesIO(as_file(photo(), exif=exif)))
    opened = open_picture(own, size=4)
    assert (own.size, own.getexif()[0x0112]) == ((24, 16), 6)
    assert opened.size == (16, 24)
    plain = photo()
    open_picture(plain).putpixel((0, 0), (1, 2, 3))
    assert plain.tobytes() == photo().tobytes()


def test_an_error_comes_back_from_a_loaders_process():
    with pytest.raises(PictureError) as refused:
        open_picture(b"")
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.fault, again.detail) == (str(refused.value), "zero bytes", "empty file")
    assert str(PictureError("as torch makes it: from a message alone")).startswith("as torch")


def test_threads_see_what_one_alone_sees():
    data = [*WHOLE, b"", WHOLE[0][:200]] * 8
    alone = [picture_fault(one, ".jpg") for one in data]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda one: picture_fault(one, ".jpg"), data)) == alone


def test_opening_says_nothing_on_the_side():
    code = """
import sys
from petbreeds.pictures import picture_fault
for file in sys.argv[1:]:
    picture_fault(bytes.fromhex(file), ".png")
"""
    over = as_file(Image.new("1", (9500, 9500), 1))
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 0, 0] * 2)
    odd = [png_with(b"eXIf", b"II*\0\x08"), jpeg_with(b"Exif\0\0II*\0\x08"), over,
           as_file(palette, transparency=b"\0\0")]
    assert start(code, *[data.hex() for data in odd]).communicate() == ("", "")


# Figures

def test_the_style_is_undone_even_after_an_error():
    import matplotlib.pyplot as plt

    before = dict(plt.rcParams)
    with pytest.raises(ZeroDivisionError), figures.plot_style():
        raise ZeroDivisionError
    assert dict(plt.rcParams) == before


def test_a_figure_is_grey_on_nothing():
    import matplotlib.pyplot as plt

    figure, axes = figures.new_figure(title="A title")
    axes.plot([0, 1], [0, 1])
    out = BytesIO()
    figure.savefig(out)
    plt.close(figure)
    pixels = np.asarray(Image.open(out).convert("RGBA"))
    assert pixels[0, 0, 3] == 0
    assert pixels.shape[1] == 100 * figures.WIDTH
    assert axes.title.get_color() == figures.GREY


def test_tensors_are_pictures_too():
    import matplotlib.pyplot as plt
    import torch

    figures.show_pictures([torch.rand(3, 8, 6), torch.rand(1, 8, 6), torch.rand(8, 6)], columns=2)
    panels = plt.gcf().axes
    assert [panel.images[0].get_array().shape[:2] for panel in panels[:3]] == [(8, 6)] * 3
    assert len(panels) == 4
    plt.close("all")


# Experiments

def test_a_bundle_is_json_that_anybody_can_read(tmp_path):
    file = tmp_path / "new" / "odd.json"
    results = {"loss": float("nan"), "best": np.float32(0.5), "n": np.int64(3), "range": (1, float("inf"))}
    write_bundle(file, {"folder": Path("a") / "b"}, results)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    stored = json.loads(file.read_text(), parse_constant=refuse)
    assert stored["results"] == {"loss": None, "best": 0.5, "n": 3, "range": [1, None]}
    assert stored["config"] == {"folder": "a/b"}
    assert tuple(sorted(stored)) == tuple(sorted(experiments.PARTS))
    assert read_bundle(file) == stored


def test_what_has_no_form_in_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(PetsError, match="cannot be stored"):
        write_bundle(tmp_path / "a.json", {"thing": object()}, [])
    assert not os.listdir(tmp_path)


def test_more_seeds_extend_a_bundle_and_fewer_take_a_part(tmp_path):
    called = []

    def run(seed):
        called.append(seed)
        return {"twice": 2 * seed}

    file = tmp_path / "a.json"
    repeat(run, [0, 1], file)
    assert repeat(run, [2, 1], file)["results"] == [{"seed": 2, "twice": 4}, {"seed": 1, "twice": 2}]
    assert called == [0, 1, 2]
    assert sorted(read_bundle(file)["seeds"]) == [0, 1, 2]
    assert repeat(run, [0], file)["seeds"] == [0]
    assert called == [0, 1, 2]


def test_other_versions_do_not_mix(tmp_path, monkeypatch):
    repeat(lambda seed: {"x": seed}, [0], tmp_path / "a.json")
    monkeypatch.setattr(experiments, "versions", lambda: {"python": "2.7"})
    with pytest.raises(PetsError, match="now it is"):
        repeat(lambda seed: {"x": seed}, [0, 1], tmp_path / "a.json")


@pytest.mark.parametrize("contents", ["", "{", "[]", "{}", '{"name": "a"}', "\ud800"])
def test_a_damaged_bundle_is_refused_in_one_line(tmp_path, contents):
    file = tmp_path / "a.json"
    file.write_bytes(contents.encode(errors="surrogatepass"))
    with pytest.raises(PetsError) as refused:
        read_bundle(file)
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(PetsError):
        repeat(lambda seed: {"x": seed}, [0], file)
    assert file.read_bytes() == contents.encode(errors="surrogatepass")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(PetsError, match="cannot write"):
        write_bundle(tmp_path / "file" / "a.json", {}, [])


def test_means_of_seeds_that_diverged():
    rows = [{"seed": seed, "loss": value} for seed, value in enumerate([0.5, None, 0.7])]
    table = summarise({"results": rows})
    assert table.loc["loss", "mean"] == pytest.approx(0.6)
    assert table.loc["loss", "n"] == 2
    assert table.loc["loss", "low"] < 0.6 < table.loc["loss", "high"]
