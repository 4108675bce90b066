"Getting pictures when things go wrong: archives served on loopback, folders of every kind of disorder."

import io
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from exercises import Exercises
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from petbreeds.files import PetsError
from petbreeds.layout import (
    FAULTS,
    DataError,
    audit,
    breed_of,
    get_pets,
    kind_of,
    pets_table,
    set_aside,
    species_of,
    split_parts,
    usable_images,
)
from petbreeds.layout.archive import OXFORD, Archive, _alone_in
from petbreeds.pictures import EXTENSIONS, MAX_PIXELS

NAMES = [
    f"{breed}_{number}"
    for breed in ("Abyssinian", "Egyptian_Mau", "pug", "american_pit_bull_terrier")
    for number in (1, 2, 13)
]


def jpeg(seed=0, size=(64, 48), format="JPEG"):
    "The bytes of a picture, another one for each seed."
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format=format)
    return file.getvalue()


def one_line(error):
    "The message of a DataError, which must be one line that says what to do."
    message = str(error.value)
    assert "\n" not in message and re.search(r"[;:] ", message), message
    return message


@pytest.fixture
def pets(tmp_path):
    "A clean folder of twelve labelled pictures with an official split."
    root = tmp_path / "pets"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for seed, name in enumerate(NAMES):
        (root / "images" / f"{name}.jpg").write_bytes(jpeg(seed))
    for part, numbers in {"trainval": ("1", "2"), "test": ("13",)}.items():
        lines = [f"{name} 1 1 1" for name in NAMES if name.rsplit("_", 1)[1] in numbers]
        (root / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return root


# ---------------------------------------------------------------- archives and the server that gives them


def tgz(members, path):
    "Write an archive: {name: bytes, or a TarInfo to add as it is}."
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def members(root="oxford-iiit-pet/"):
    "What a small archive of the same layout holds."
    files = {f"{root}images/{name}.jpg": jpeg(seed) for seed, name in enumerate(NAMES)}
    return files | {
        f"{root}annotations/trainval.txt": b"pug_1 1 2 1\n",
        f"{root}annotations/test.txt": b"pug_2 1 2 1\n",
        f"{root}annotations/noise": random.Random(0).randbytes(300_000),
    }  # does not compress


class Server(ThreadingHTTPServer):
    "Serves `files` ({path: bytes}); `cuts` and the other sets name paths at which it misbehaves."

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cuts, self.without_ranges, self.asked = {}, {}, set(), []

    def put(self, path, data, **known):
        "Serve `data` and return the Archive that describes it (or claims to, where `known` says otherwise)."
        self.files[path] = data
        facts = {"size": len(data), "md5": md5(data).hexdigest()} | known
        return Archive(f"http://127.0.0.1:{self.server_port}{path}", **facts)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        asked = int(re.search(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        self.server.asked.append((self.path, asked))
        data = self.server.files.get(self.path)
        if data is None:
            return self.send_error(404)
        if self.path in self.server.without_ranges:
            asked = 0
        rest = data[asked:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.cuts.get(self.path, 0):
            self.server.cuts[self.path] -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)


@pytest.fixture
def server(monkeypatch):
    "A server on loopback; the waits between tries are left out."
    monkeypatch.setattr("petbreeds.layout.archive.time.sleep", lambda seconds: None)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def archive(tmp_path):
    "The bytes of a whole, well-behaved archive."
    return tgz(members(), tmp_path / "pets.tgz")


def fetch(home, *mirrors):
    "Download from `mirrors` into `home`."
    return get_pets("oxford", home=home, mirrors=mirrors)


def left_in(home):
    "Names in the folder that keeps pictures."
    return sorted(file.name for file in Path(home).iterdir()) if Path(home).exists() else []


def test_whole_archive(server, archive, tmp_path):
    path = fetch(tmp_path / "home", (server.put("/pets.tgz", archive),))
    assert path == tmp_path / "home" / "oxford-iiit-pet"
    assert sorted(file.stem for file in usable_images(path)) == sorted(NAMES)
    assert left_in(tmp_path / "home") == ["oxford-iiit-pet"]


def test_two_archives_make_one_folder(server, tmp_path):
    "The original site keeps images and annotations apart, without a folder around them."
    every = members(root="")
    parts = [
        {name: data for name, data in every.items() if name.startswith(start)} for start in ("images", "annotations")
    ]
    archives = [server.put(f"/{i}.tar.gz", tgz(part, tmp_path / "part.tgz")) for i, part in enumerate(parts)]
    path = fetch(tmp_path / "home", tuple(archives))
    table = pets_table(path)
    assert len(usable_images(path)) == len(table) == len(NAMES)
    assert table.part.value_counts().to_dict() == {"": len(NAMES) - 2, "train": 1, "test": 1}


def test_second_call_downloads_nothing(server, archive, tmp_path):
    mirror = (server.put("/pets.tgz", archive),)
    first = fetch(tmp_path / "home", mirror)
    asked = len(server.asked)
    assert fetch(tmp_path / "home", mirror) == first and len(server.asked) == asked


def test_two_downloads_at_once_take_turns(server, archive, tmp_path, caplog):
    "Else one would remove what the other is unpacking, and a folder with holes would be believed."
    caplog.set_level("INFO", "petbreeds")
    home = tmp_path / "home"
    home.mkdir()
    mirror = (server.put("/pets.tgz", archive),)
    with ThreadPoolExecutor(2) as pool:
        with _alone_in(home):
            both = [pool.submit(fetch, home, mirror) for _ in range(2)]
            for _ in range(3000):
                if len(caplog.messages) == 2:
                    break
                threading.Event().wait(0.01)
            assert all("another process is downloading" in line for line in caplog.messages)
            assert len(caplog.messages) == 2 and not server.asked
        assert {done.result(60) for done in both} == {home / "oxford-iiit-pet"}
    assert len(server.asked) == 1 and left_in(home) == ["oxford-iiit-pet"]


def test_cut_off_download_goes_on_where_it_stopped(server, archive, tmp_path):
    mirror = (server.put("/pets.tgz", archive),)
    server.cuts["/pets.tgz"] = 1
    path = fetch(tmp_path / "home", mirror)
    assert len(usable_images(path)) == len(NAMES)
    (_, first), (_, second) = server.asked
    assert first == 0 and 0 < second <= len(archive) // 2


def test_cut_off_again_and_again_says_so_and_a_later_call_goes_on(server, archive, tmp_path):
    mirror, home = (server.put("/pets.tgz", archive),), tmp_path / "home"
    server.cuts["/pets.tgz"] = 3
    with pytest.raises(DataError) as error:
        fetch(home, mirror)
    assert "the connection broke" in one_line(error) and left_in(home) == ["pets.tgz.part"]
    kept = (home / "pets.tgz.part").stat().st_size
    assert 0 < kept < len(archive)
    assert len(usable_images(fetch(home, mirror))) == len(NAMES)
    assert server.asked[-1] == ("/pets.tgz", kept)


def test_server_without_ranges_starts_again(server, archive, tmp_path):
    server.without_ranges.add("/pets.tgz")
    server.cuts["/pets.tgz"] = 1
    assert len(usable_images(fetch(tmp_path / "home", (server.put("/pets.tgz", archive),)))) == len(NAMES)


def test_killed_while_unpacking_is_not_taken_for_complete(server, archive, tmp_path):
    home = tmp_path / "home"
    (home / "oxford-iiit-pet.unpacking" / "images").mkdir(parents=True)
    (home / "oxford-iiit-pet.unpacking" / "images" / "stale_1.jpg").write_bytes(b"half")
    path = fetch(home, (server.put("/pets.tgz", archive),))
    assert not (path / "images" / "stale_1.jpg").exists() and left_in(home) == ["oxford-iiit-pet"]


def test_truncated_archive_with_a_matching_checksum(server, archive, tmp_path):
    "The mirror itself holds half a file: size and checksum fit, the content does not."
    half = server.put("/half.tgz", archive[: len(archive) // 2])
    with pytest.raises(DataError) as error:
        fetch(tmp_path / "home", (half,))
    assert "the archive is damaged" in one_line(error) and left_in(tmp_path / "home") == []


def test_damage_beyond_the_covered_bytes_is_found_by_gzip(server, archive, tmp_path):
    "The checksum of one mirror covers only the first megabyte: the archive's own checksum must find the rest."
    broken = archive[:-8] + bytes(4) + archive[-4:]  # the CRC-32 that ends a gzip file
    known = server.put("/pets.tgz", broken, md5=md5(archive[:100]).hexdigest(), covered=100)
    with pytest.raises(DataError) as error:
        fetch(tmp_path / "home", (known,))
    assert "the archive is damaged" in one_line(error) and left_in(tmp_path / "home") == []


@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"?", lambda data: data + b"?", lambda data: data[1:]])
def test_wrong_content_is_refused_and_not_kept(server, archive, tmp_path, change):
    known = server.put("/pets.tgz", change(archive), size=len(archive), md5=md5(archive).hexdigest())
    with pytest.raises(DataError) as error:
        fetch(tmp_path / "home", (known,))
    one_line(error)
    assert "oxford-iiit-pet" not in left_in(tmp_path / "home")


def test_second_mirror_when_the_first_is_down(server, archive, tmp_path):
    gone = Archive(f"http://127.0.0.1:{server.server_port}/gone.tgz", 1, "0")
    broken = server.put("/broken.tgz", archive, md5="0" * 32)
    path = fetch(tmp_path / "home", (gone,), (broken,), (server.put("/pets.tgz", archive),))
    assert len(usable_images(path)) == len(NAMES) and left_in(tmp_path / "home") == ["oxford-iiit-pet"]


def test_a_proxy_that_does_not_answer_is_named(server, archive, tmp_path, monkeypatch):
    mirror = (server.put("/pets.tgz", archive),)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with pytest.raises(DataError, match="no connection through the proxy") as error:
        fetch(tmp_path / "home", mirror)
    assert "\n" not in str(error.value) and not server.asked


def test_no_mirror_can_be_reached(server, archive, tmp_path):
    mirrors = [(server.put("/pets.tgz", archive),), (Archive("http://petbreeds.invalid/pets.tgz", 1, "0"),)]
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError) as error:
        fetch(tmp_path / "home", *mirrors)
    message = one_line(error)
    assert message.count("no connection") == 2 and "check the network" in message and "'paper'" in message


def member(name, kind=tarfile.REGTYPE, target=""):
    "A member of an archive, of any kind."
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


BAD_MEMBERS = {
    "parent": member("../outside.jpg"),
    "parent further in": member("oxford-iiit-pet/images/../../../outside.jpg"),
    "absolute": member("/tmp/petbreeds-outside.jpg"),
    "backslash": member("oxford-iiit-pet\\..\\..\\outside.jpg"),
    "drive": member("C:outside.jpg"),
    "symbolic link": member("oxford-iiit-pet/images/link_1.jpg", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": member("oxford-iiit-pet/images/link_1.jpg", tarfile.LNKTYPE, "oxford-iiit-pet/images/pug_1.jpg"),
    "device": member("oxford-iiit-pet/images/device_1.jpg", tarfile.CHRTYPE),
    "pipe": member("oxford-iiit-pet/images/pipe_1.jpg", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("what", BAD_MEMBERS)
def test_malicious_member_is_refused(server, tmp_path, what):
    bad = BAD_MEMBERS[what]
    data = tgz(members() | {bad.name: bad}, tmp_path / "bad.tgz")
    home = tmp_path / "deep" / "home"
    with pytest.raises(DataError) as error:
        fetch(home, (server.put("/pets.tgz", data),))
    assert f"refused to unpack {bad.name!r}" in one_line(error)
    assert (
        left_in(home) == [] and not list(tmp_path.rglob("outside*")) and not Path("/tmp/petbreeds-outside.jpg").exists()
    )


def test_archive_of_something_else(server, tmp_path):
    data = tgz({"readme.txt": b"no pictures"}, tmp_path / "other.tgz")
    with pytest.raises(DataError) as error:
        fetch(tmp_path / "home", (server.put("/pets.tgz", data),))
    assert "holds no images/" in one_line(error) and left_in(tmp_path / "home") == []


# ---------------------------------------------------------------- disks


def test_home_that_cannot_be_a_folder(server, archive, tmp_path):
    (tmp_path / "home").write_text("a file")
    with pytest.raises(DataError) as error:
        fetch(tmp_path / "home", (server.put("/pets.tgz", archive),))
    assert "cannot write to" in one_line(error) and "PETBREEDS_HOME" in one_line(error)
    assert (tmp_path / "home").read_text() == "a file"


def test_too_little_room_is_said_before_the_download(server, archive, tmp_path):
    with pytest.raises(DataError) as error:
        fetch(tmp_path / "home", (server.put("/pets.tgz", archive, size=2**60),))
    assert "no room in" in one_line(error) and server.asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_disk_that_fills_up_meanwhile(server, archive, tmp_path):
    "The system refuses to write more than 1,000 bytes to a file, as a full disk would."
    known = server.put("/pets.tgz", archive)
    code = f"""
import resource
from petbreeds.layout import DataError, get_pets
from petbreeds.layout.archive import Archive
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    get_pets("oxford", home={str(tmp_path / "home")!r}, mirrors=(({known!r},),))
except DataError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert said.stderr == "" and said.stdout.count("\n") == 1 and said.stdout.startswith("cannot write to"), said
    assert "oxford-iiit-pet" not in left_in(tmp_path / "home")


# ---------------------------------------------------------------- folders


def test_source_from_the_environment(pets, monkeypatch):
    monkeypatch.setenv("PETBREEDS_DATA", str(pets))
    assert get_pets() == pets
    monkeypatch.setenv("PETBREEDS_DATA", str(pets / "nowhere"))
    with pytest.raises(DataError) as error:
        get_pets()
    assert "no folder" in one_line(error) and "PETBREEDS_DATA" in one_line(error)


def test_folder_errors(pets, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    hollow, unlabelled = tmp_path / "hollow", tmp_path / "unlabelled"
    (hollow / "images").mkdir(parents=True)
    (unlabelled / "images").mkdir(parents=True)
    (unlabelled / "images" / "holiday.jpg").write_bytes(jpeg())
    expected = {
        "oxfrod": "no folder 'oxfrod': expected paper, oxford or a folder",
        tmp_path / "nowhere": "no folder",
        tmp_path / "file": "is a file",
        tmp_path / "empty": "no images in",
        pets / "images": "give the folder above it",
        hollow: "no images in",
    }
    for source, words in expected.items():
        with pytest.raises(DataError) as error:
            get_pets(source)
        assert words in one_line(error), source
    with pytest.raises(DataError) as error:  # a table may still say what its pictures are
        pets_table(get_pets(unlabelled))
    assert "holiday.jpg for example" in one_line(error)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="permissions are POSIX")
@pytest.mark.parametrize("folder", ["", "images"])
def test_folder_that_may_not_be_read(pets, folder, monkeypatch):
    "Root may read everything, so the refusal comes from a stand-in for the system's answer."
    real, closed = os.listdir, pets / folder

    def listdir(path="."):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("petbreeds.layout.sources.os.listdir", listdir)
    with pytest.raises(DataError) as error:
        get_pets(pets)
    assert f"cannot read {closed}: Permission denied" in one_line(error)


def test_other_breeds_and_no_annotations(tmp_path):
    (tmp_path / "images").mkdir()
    for seed, name in enumerate(("Manx_1.JPG", "Manx_2.jpeg", "border_collie_1.png", "007_1.jpg")):
        (tmp_path / "images" / name).write_bytes(jpeg(seed, format="PNG" if name.endswith("png") else "JPEG"))
    path = get_pets(tmp_path)
    assert len(usable_images(path)) == 4 and len(audit(path)) == 0
    table = pets_table(path).set_index("file")
    assert table.loc["images/border_collie_1.png"].to_dict() == {"label": "border_collie", "part": "train"}
    assert table.loc["images/Manx_1.JPG", "label"] == "Manx" and sorted(table[table.label == "Manx"].part) == [
        "test",
        "train",
    ]


# ---------------------------------------------------------------- drawn pictures


def test_paper_is_drawn_once_and_found_again(tmp_path, monkeypatch):
    monkeypatch.delenv("PETBREEDS_DATA", raising=False)
    monkeypatch.setenv("PETBREEDS_HOME", str(tmp_path / "home"))
    path = get_pets(per_breed=2, scale=0.1)
    assert path.parent == tmp_path / "home" and len(usable_images(path)) == 74
    drawn = {file: file.stat().st_mtime_ns for file in path.rglob("*.jpg")}
    assert get_pets("paper", per_breed=2, scale=0.1) == path
    assert drawn == {file: file.stat().st_mtime_ns for file in path.rglob("*.jpg")}
    assert pets_table(path).part.value_counts().to_dict() == {"train": 37, "test": 37}
    assert get_pets("paper", per_breed=2, scale=0.1, seed=1) != path


def test_audit_finds_what_the_dirty_set_plants(tmp_path):
    "The drawn set has, on demand, the faults that the photographs are known for, under the same names."
    path = get_pets("paper", per_breed=1, scale=0.1, dirty=True, home=tmp_path)
    faults = audit(path).groupby("fault").file.apply(set)
    assert faults["wrong format"] == {
        f"{name}.jpg"
        for name in (
            "Abyssinian_5",
            "Abyssinian_34",
            "Egyptian_Mau_14",
            "Egyptian_Mau_139",
            "Egyptian_Mau_145",
            "Egyptian_Mau_156",
            "Egyptian_Mau_167",
            "Egyptian_Mau_177",
            "Egyptian_Mau_186",
            "Egyptian_Mau_191",
        )
    }
    assert faults["corrupt"] == {"beagle_116.jpg"} and faults["damaged"] == {"chihuahua_121.jpg"}
    assert faults["not an image"] == {f"Abyssinian_10{i}.mat" for i in range(3)}
    assert len(faults) == 4


def test_recipe_out_of_range(tmp_path):
    with pytest.raises(DataError):
        get_pets("paper", per_breed=0, home=tmp_path)


# ---------------------------------------------------------------- labels

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-. é犬", min_size=1, max_size=30)


@given(breed=WORD, number=st.integers(0, 10**9), extension=st.sampled_from(sorted(EXTENSIONS)), upper=st.booleans())
def test_breed_comes_back_from_any_name(breed, number, extension, upper):
    name = f"{breed}_{number}.{extension.upper() if upper else extension}"
    assert breed_of(name) == breed_of(Path("some_1.jpg") / name) == breed


@given(st.text(max_size=20))
def test_any_other_name_is_one_clear_error(name):
    try:
        breed = breed_of(name)
    except DataError as error:
        assert "breed_number.jpg" in str(error)
    else:
        assert Path(name).name.startswith(breed + "_")


@pytest.mark.parametrize(
    "name",
    [
        "pug_12xjpg",
        "pug_12_jpg",
        "pug_12.jpg.txt",
        "pug12.jpg",
        "_12.jpg",
        "pug_.jpg",
        "pug.jpg",
        "pug_12.jpg\n",
        "pug_١٢.jpg",
        "pug_12.mat",
        "",
    ],
)
def test_names_without_a_label(name):
    with pytest.raises(DataError):
        breed_of(name)


def test_species():
    assert species_of("Ragdoll") == species_of(Path("images/Egyptian_Mau_14.jpg")) == "cat"
    assert species_of("pug") == species_of("images/shiba_inu_16.jpg") == "dog"
    for name in ("", "7_1.jpg", "_pug"):
        with pytest.raises(DataError):
            species_of(name)


# ---------------------------------------------------------------- dirty files


def damaged(data):
    "A JPEG that lacks some bytes before its end mark: it opens, its last rows are made up."
    return data[:-300] + data[-2:]


def huge_png():
    "A few bytes whose header claims more pixels than any memory holds."
    data = bytearray(jpeg(format="PNG"))
    side = int((MAX_PIXELS * 1.5) ** 0.5)
    data[16:24] = side.to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


DIRT = {  # name: (bytes, fault, usable)
    "pug_20.jpg": (b"", "zero bytes", False),
    "pug_21.jpg": (b"this is text", "not an image", False),
    "pug_22.mat": (b"MATLAB", "not an image", False),
    "pug_23.jpg": (jpeg(23)[:1000], "corrupt", False),
    "pug_24.jpg": (jpeg(24)[:30], "corrupt", False),
    "pug_25.png": (jpeg(25, format="PNG")[:400], "corrupt", False),
    "pug_26.png": (huge_png(), "absurdly large", False),
    "holiday.jpg": (jpeg(27), "unlabelled", False),
    "pug_28.jpg": (jpeg(28, format="PNG"), "wrong format", True),
    "pug_29.jpg": (jpeg(29, format="GIF"), "wrong format", True),
    "pug_30.jpg": (jpeg(NAMES.index("pug_1")), "duplicate content", True),
    "pug_31.jpg": (damaged(jpeg(31)), "damaged", True),
}


@pytest.fixture
def dirty(pets):
    "The clean folder with one file of each fault."
    for name, (data, _, _) in DIRT.items():
        (pets / "images" / name).write_bytes(data)
    return pets


def test_audit_finds_each_fault_and_nothing_else(dirty):
    before = {file: file.read_bytes() for file in dirty.rglob("*") if file.is_file()}
    found = audit(dirty)
    assert {row.file: (row.fault, row.usable) for row in found.itertuples()} == {
        name: (fault, usable) for name, (_, fault, usable) in DIRT.items()
    }
    assert len(found) == len(DIRT) and set(found.fault) <= set(FAULTS) and all(found.advice) and all(found.detail)
    assert before == {file: file.read_bytes() for file in dirty.rglob("*") if file.is_file()}


def test_usable_images_leaves_out_what_cannot_be_trained_on(dirty):
    names = {file.name for file in usable_images(dirty)}
    assert names == {f"{name}.jpg" for name in NAMES} | {name for name, (_, _, usable) in DIRT.items() if usable}
    for file in usable_images(dirty):
        Image.open(file).convert("RGB").load()


def test_duplicate_under_another_label_is_told(pets):
    shutil.copy(pets / "images" / "pug_1.jpg", pets / "images" / "Ragdoll_1.jpg")
    (row,) = audit(pets).itertuples()
    assert (row.file, row.fault) == ("pug_1.jpg", "duplicate content") and "another label" in row.detail


def test_audit_of_a_clean_folder_is_empty(pets):
    assert len(audit(pets)) == 0


def test_file_that_cannot_be_read(pets):
    (pets / "images" / "pug_99.jpg").symlink_to(pets / "nowhere.jpg")
    (row,) = audit(pets).itertuples()
    assert (row.file, row.fault, row.usable) == ("pug_99.jpg", "unreadable", False)


def test_a_file_that_changes_is_checked_again(pets):
    assert len(usable_images(pets)) == len(NAMES)
    (pets / "images" / "pug_1.jpg").write_bytes(b"")
    assert len(usable_images(pets)) == len(NAMES) - 1


def test_audit_without_a_decoder_that_complains_says_so(dirty, monkeypatch, caplog):
    monkeypatch.setattr("petbreeds.layout.auditing._DECODE_EACH", "raise SystemExit('no decoder here')")
    assert set(FAULTS) - set(audit(dirty).fault) == {"damaged", "unreadable", "no reader", "hidden", "linked twice"}
    assert caplog.messages == ["damaged JPEGs were not looked for: no decoder here"]


def test_complaints_are_told_of_the_right_file(pets):
    "Good and damaged files by turns, one of them with a line break in its name."
    names = ["Bengal_1.jpg", "Manx_2.jpg", "a\nb_3.jpg", "pug_91.jpg"]
    for seed, name in enumerate(names):
        data = jpeg(100 + seed)
        (pets / "images" / name).write_bytes(damaged(data) if seed % 2 else data)
    found = audit(pets)
    assert list(found.file[found.fault == "damaged"]) == ["Manx_2.jpg", "pug_91.jpg"]


def test_audit_leaves_no_trace_on_stderr(dirty, capfd):
    audit(dirty)
    assert capfd.readouterr().err == ""


# ---------------------------------------------------------------- the table: labels and parts


def put_pictures(root, counts):
    "Pictures of noise in images/, as many of each label as `counts` says."
    (root / "images").mkdir(parents=True)
    for label, count in counts.items():
        for number in range(1, count + 1):
            (root / "images" / f"{label}_{number}.jpg").write_bytes(jpeg(number, size=(8, 8)))
    return root


def parts_by_label(table):
    "How many pictures of each label are in each part."
    return {label: rows.part.value_counts().to_dict() for label, rows in table.groupby("label")}


def test_official_split(pets, caplog):
    caplog.set_level("INFO", "petbreeds")
    table = pets_table(pets)
    assert list(table.columns) == ["file", "label", "part"] and len(table) == len(NAMES)
    numbers = table.file.str.extract(r"_(\d+)\.jpg")[0]
    assert set(numbers[table.part == "train"]) == {"1", "2"} and set(numbers[table.part == "test"]) == {"13"}
    assert all((pets / file).is_file() for file in table.file)
    assert caplog.messages == table.attrs["notices"] == [
        f"{pets}: labels in the file names; parts from annotations/trainval.txt, annotations/test.txt"]


def test_pictures_in_neither_list_have_no_part_and_are_told(pets, caplog):
    caplog.set_level("INFO", "petbreeds")
    (pets / "images" / "pug_3.jpg").write_bytes(jpeg(99))
    table = pets_table(pets).set_index("file")
    assert table.part["images/pug_3.jpg"] == "" and (table.part == "").sum() == 1
    assert caplog.messages[1:] == ["1 of 13 pictures are given no part and are left out: pug_3.jpg"]


def test_pictures_that_cannot_be_used_have_no_row_and_are_named(dirty, caplog):
    files = set(pets_table(dirty).file)
    assert files == {f"images/{file.name}" for file in usable_images(dirty)}
    assert [message for message in caplog.messages if message.startswith("8 of 24 files in images/ cannot be used")]


@pytest.mark.parametrize("part", ["trainval", "test"])
def test_list_that_fits_no_picture(pets, part):
    (pets / "annotations" / f"{part}.txt").write_text("Ragdoll_1 1 1 1\n")
    with pytest.raises(DataError) as error:
        pets_table(pets)
    assert f"{part}.txt" in one_line(error)


def test_one_list_without_the_other(pets):
    (pets / "annotations" / "test.txt").unlink()
    with pytest.raises(DataError) as error:
        pets_table(pets)
    assert "no test.txt" in one_line(error)


def test_test_list_that_repeats_training_pictures(pets):
    with open(pets / "annotations" / "test.txt", "a") as file:
        file.write("pug_1 1 1 1\nAbyssinian_2 1 1 1\n")
    with pytest.raises(DataError) as error:
        pets_table(pets)
    assert "repeats 2 of the training pictures" in one_line(error) and "Abyssinian_2, pug_1" in one_line(error)


def test_list_that_is_no_text(pets):
    (pets / "annotations" / "test.txt").write_bytes(b"pug_13 1 \x81\xff\0\n")
    with pytest.raises(DataError) as error:
        pets_table(pets)
    assert "test.txt is no text" in one_line(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: f"# names\n\n{text}".encode(),
        lambda text: text.replace(" 1 1 1", "").encode(),  # names alone
        lambda text: text.replace(" ", "\t").rstrip().encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-be"),  # and no mark that says so
        lambda text: text.replace("\n", "\r").encode("cp1252"),
        lambda text: text.replace(" 1 1 1", ".jpg").encode(),
        lambda text: re.sub(r"^(\S+).*", r"./images/\1.jpg", text, flags=re.M).encode(),
        lambda text: re.sub(r"^(\S+).*", r"C:\\pets\\images\\\1.JPG", text, flags=re.M).encode(),
        lambda text: re.sub(r"^(\S+).*", r'"/home/me/images/\1.jpg",3', text, flags=re.M).encode(),
    ],
    ids=["CRLF", "BOM", "comment", "names alone", "tabs", "UTF-16", "UTF-16 without a mark", "CR", "extensions",
         "relative paths", "Windows paths", "quoted paths and a number"],
)
def test_lists_as_other_programs_write_them(pets, change):
    expected = pets_table(pets)
    for file in (pets / "annotations").iterdir():
        file.write_bytes(change(file.read_text()))
    assert pets_table(pets).equals(expected)


def test_names_with_spaces_in_lists(pets):
    (pets / "images" / "great dane 2 1_7.jpg").write_bytes(jpeg(70))
    with open(pets / "annotations" / "test.txt", "a") as file:
        file.write("great dane 2 1_7 38 2 26\n")
    row = pets_table(pets).set_index("file").loc["images/great dane 2 1_7.jpg"]
    assert row.to_dict() == {"label": "great dane 2 1", "part": "test"}


def test_accents_are_one_label_however_they_are_written(pets):
    for number, accent in enumerate(("\u00e9", "e\u0301"), 1):
        (pets / "images" / f"caf{accent}_{number}.jpg").write_bytes(jpeg(80 + number))
    with open(pets / "annotations" / "test.txt", "a", encoding="utf-8") as file:
        file.write("caf\u00e9_2 38 1 13\ncafe\u0301_1 38 1 13\n")  # each in the other form
    rows = pets_table(pets).query("label == 'caf\u00e9'")
    assert list(rows.part) == ["test", "test"] and breed_of("cafe\u0301_1.jpg") == "caf\u00e9"


def test_protocol_without_lists(tmp_path, caplog):
    caplog.set_level("INFO", "petbreeds")
    root = put_pictures(tmp_path / "own", {"one": 1, "two": 2, "four": 4, "seven": 7, "twenty": 20})
    table = pets_table(root)
    assert parts_by_label(table) == {
        "one": {"train": 1},
        "two": {"train": 1, "test": 1},
        "four": {"train": 3, "test": 1},
        "seven": {"train": 5, "valid": 1, "test": 1},
        "twenty": {"train": 13, "valid": 3, "test": 4},
    }
    assert len(caplog.messages) == 2 and "(seed 42)" in caplog.messages[1]
    assert pets_table(root).equals(table) and not pets_table(root, seed=1).equals(table)


def test_protocol_with_lists(tmp_path):
    "Lists decide the test alone; of the rest a fifth is for validation, a third in a drawn set."
    root = put_pictures(tmp_path / "own", {"pug": 12, "Manx": 6})
    (root / "annotations").mkdir()
    for part, numbers in {"trainval": range(1, 10), "test": range(10, 13)}.items():
        lines = [f"{label}_{number} 1 1 1\n" for label in ("pug", "Manx") for number in numbers]
        (root / "annotations" / f"{part}.txt").write_text("".join(lines))
    table = pets_table(root)
    assert parts_by_label(table) == {"pug": {"train": 7, "valid": 2, "test": 3}, "Manx": {"train": 5, "valid": 1}}
    assert set(table.file[table.part == "test"]) == {f"images/pug_{number}.jpg" for number in range(10, 13)}
    (root / "paperpets.json").write_text("{}")
    assert parts_by_label(pets_table(root)) == {
        "pug": {"train": 6, "valid": 3, "test": 3},
        "Manx": {"train": 4, "valid": 2},
    }


LABELS = st.lists(st.sampled_from(["pug", "Manx", "beagle", "Bengal"]), max_size=60)


@given(labels=LABELS, seed=st.integers(0, 99), order=st.randoms(use_true_random=False))
def test_split_takes_its_share_of_each_class(labels, seed, order):
    parts = split_parts(labels, seed=seed)
    assert parts == split_parts(labels, seed=seed) and len(parts) == len(labels)
    for label in set(labels):
        own = [part for part, other in zip(parts, labels) if other == label]
        n, test = len(own), own.count("test")
        assert test == (max(1, round(n / 5)) if n > 1 else 0)
        assert own.count("valid") == (max(1, round((n - test) / 5)) if n - test >= 5 else 0)
        assert own.count("train") > 0
    more = split_parts(labels + ["Sphynx"] * 9, seed=seed)
    assert more[: len(labels)] == parts  # a new class leaves the others alone
    grouped = sorted(range(len(labels)), key=lambda i: labels[i])
    assert [parts[i] for i in grouped] == split_parts([labels[i] for i in grouped], seed=seed)


@given(labels=LABELS, share=st.floats(0.05, 0.5), fewest=st.integers(1, 8))
def test_set_aside(labels, share, fewest):
    chosen = set_aside(labels, share, fewest=fewest)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(range(len(labels)))
    for label in set(labels):
        n, taken = labels.count(label), sum(labels[i] == label for i in chosen)
        assert taken == (max(1, round(share * n)) if n >= fewest else 0)


def test_folder_without_a_usable_picture(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "pug_1.jpg").write_bytes(b"text")
    with pytest.raises(DataError) as error:
        pets_table(tmp_path)
    assert "opens and carries a label" in one_line(error)


# ---------------------------------------------------------------- what a folder says of itself


def test_kind_of_folder_is_read_from_its_file_not_its_name(pets, server, archive, tmp_path):
    assert kind_of(pets) == kind_of(pets.rename(pets.with_name("paperpets-oxford-iiit-pet"))) == "folder"
    home = tmp_path / "home"
    downloaded = fetch(home, (server.put("/pets.tgz", archive),))
    assert kind_of(downloaded) == kind_of(downloaded.rename(home / "other")) == "oxford"
    assert kind_of(get_pets("paper", per_breed=1, scale=0.1, home=home)) == "paper"


def test_photographs_of_an_older_version_get_their_file(archive, server, tmp_path):
    old = tmp_path / "oxford-iiit-pet"
    (old / "images").mkdir(parents=True)
    assert fetch(tmp_path, (server.put("/pets.tgz", archive),)) == old
    assert kind_of(old) == "oxford" and server.asked == []


def test_damaged_manifest(pets):
    (pets / "petbreeds.json").write_text("{")
    with pytest.raises(DataError) as error:
        kind_of(pets)
    assert "petbreeds.json is damaged" in one_line(error)


def test_errors_are_ours():
    assert issubclass(DataError, PetsError)


def test_mirrors_have_the_checksums_that_the_libraries_know():
    "The table against what fastai and torchvision check."
    import fastai.data
    from fastdownload.core import read_checks
    from torchvision.datasets import OxfordIIITPet

    (whole,), parts = OXFORD
    known = read_checks(Path(fastai.data.__path__[0]) / "download_checks.py")
    assert known[whole.url] == (whole.size, whole.md5) and whole.covered == 2**20
    assert tuple((part.url, part.md5) for part in parts) == OxfordIIITPet._RESOURCES


# ---------------------------------------------------------------- the chapter's exercises

EXERCISES = Exercises("01_layout")


def exercises():
    "A namespace with the chapter's checks and what they use."
    given = {}
    exec("import pandas as pd\nfrom fastai.vision.all import *\nfrom petbreeds.layout import *", given)
    return EXERCISES.namespace(**given)


@pytest.mark.parametrize(
    "pattern, words",
    [
        (r".+_\d+\.jpeg", "no group"),
        (r"(.+)_\d+\.jpeg", "begin and end"),  # the date too
        (r"[\d-]+_([a-z]+)_\d+\.jpeg", "is refused"),  # no underscore
        (r"[\d-]+_([a-z_]+)_\d+\.jpeg", "is refused"),  # no digit
        (r"[\d-]+_(.+)_\d+.jpeg", "a dot stands for any character"),
        (r"[\d-]+_(.*)_\d+\.jpeg", "2031-07-14__003.jpeg is accepted"),
        (r".+?_(.+)_\d+\.jpeg", "x-y-z_pug_003.jpeg is accepted"),
        (r"[\d-]+_(.+)_\d+\.jpe?g", "003.jpg passes"),
        (r"[\d-]+_(.+_\d+\.jpeg", "are all brackets closed"),
        (None, "no pattern"),
        (r"\d+-\d\d-\d\d_(\w+)_\d{3}\.jpeg", None),
        (r"(?:\d{4})-(?:\d\d)-(?:\d\d)_(?P<breed>.+)_\d+\.jpeg", None),
    ],
)
def test_pattern_check_names_the_mistake(pattern, words):
    said = exercises()["check_pattern"](pattern)
    assert said == "Right." if words is None else words in said


def animal_of(name):
    return name.rpartition("_")[0]


def wrong_choices():
    "Name, function, words that the check must use."
    yield "nothing comes back", lambda names: None, "nothing comes back"
    yield "no list", lambda names: 1 / 0, "stopped with ZeroDivisionError"
    yield "animals instead of pictures", lambda names: [animal_of(name) for name in names], "names out of the list"
    yield "by picture", lambda names: [name for name in names if name.endswith("_1.jpg")], "take all or none"
    yield "all", lambda names: names, "take one of each"
    yield "one breed", lambda names: [name for name in names if name.startswith("pug_rex_")], "is set aside"
    yield (
        "first underscore",
        lambda names: [
            n for n in names if animal_of(n) in {m.split("_")[0]: animal_of(m) for m in sorted(names)}.values()
        ],
        "no animal of",
    )
    yield (
        "as they come",
        lambda names: [
            n for n in names if animal_of(n) in {animal_of(animal_of(m)): animal_of(m) for m in names}.values()
        ],
        "another order",
    )


@pytest.mark.parametrize("choose, words", [pytest.param(*rest, id=name) for name, *rest in wrong_choices()])
def test_animal_check_names_the_mistake(choose, words):
    "A choice by order may be right by accident, so some tries are allowed."
    said = {exercises()["check_animals"](choose) for _ in range(20 if words == "another order" else 1)}
    assert any(words in line for line in said)


def by_position(files, table):
    return [name for name, breed in zip(files, table.breed) if breed_of(name) != breed]


def from_the_table_alone(files, table):
    return [row.file for row in table.itertuples() if breed_of(row.file) != row.breed] + ["gone_9.jpg"]


def only_the_first(files, table):
    return [
        row.file
        for row in table.sort_values("file").itertuples()
        if row.file in files and breed_of(row.file) != row.breed
    ][:1]


@pytest.mark.parametrize(
    "answer, words",
    [
        (by_position, "join by file name"),
        (from_the_table_alone, "only in the table"),
        (only_the_first, "is not reported"),
        (lambda files, table: None, "did you forget return"),
    ],
)
def test_disagreement_check_names_the_mistake(answer, words):
    assert words in exercises()["check_disagreements"](answer)
