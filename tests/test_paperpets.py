"A drawn set on disk: its layout, its faults, and what happens when drawing is disturbed."

import errno
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from exercises import Exercises
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from petbreeds import files
from petbreeds.paperpets import dataset
from petbreeds.paperpets.breeds import BREEDS
from petbreeds.paperpets.dataset import (
    CLASS_ID,
    FAULTS,
    make_paperpets,
    picture_size,
    recipe_key,
    set_entries,
    set_fingerprint,
)

SMALL = dict(per_breed=2, seed=3, scale=0.1)


def contents(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in Path(path).rglob("*") if p.is_file()}


def one_line(error):
    message = str(error.value)
    assert message and "\n" not in message
    return message


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    "A small set, drawn by this process alone; the tests only read it."
    return make_paperpets(tmp_path_factory.mktemp("sets") / "oxford-iiit-pet", workers=1, **SMALL)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return make_paperpets(tmp_path_factory.mktemp("sets") / "oxford-iiit-pet", per_breed=6, scale=0.1, workers=1)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    return make_paperpets(
        tmp_path_factory.mktemp("sets") / "oxford-iiit-pet", per_breed=6, scale=0.1, workers=1, dirty=True
    )


# ---------------------------------------------------------------- layout
@pytest.mark.parametrize("split", ["trainval", "test"])
def test_torchvision_loads_it(pets, split):
    kinds = ["category", "binary-category", "segmentation"]
    loaded = OxfordIIITPet(pets.parent, split=split, target_types=kinds, download=False)
    assert len(loaded) == 37 and len(loaded.classes) == 37
    for path, (image, (label, species, trimap)) in zip(loaded._images, loaded, strict=True):
        breed = path.stem.rpartition("_")[0]
        assert label == CLASS_ID[breed] - 1
        assert loaded.bin_classes[species].lower() == BREEDS[breed].species
        assert image.mode == "RGB" and image.size == trimap.size
        assert set(np.unique(trimap)) <= {1, 2, 3}


def test_list_has_six_comments_then_every_picture_with_its_ids(pets):
    lines = (pets / "annotations/list.txt").read_text().splitlines()
    assert [line.startswith("#") for line in lines] == [True] * 6 + [False] * 74
    rows = [line.split() for line in lines[6:]]
    assert [int(row[1]) for row in rows] == sorted(2 * list(range(1, 38)))
    assert {row[0].rpartition("_")[0]: int(row[1]) for row in rows} == CLASS_ID
    assert {(int(row[2]), int(row[3])) for row in rows} == {(1, i) for i in range(1, 13)} | {
        (2, i) for i in range(1, 26)
    }
    assert all((row[2] == "1") == row[0][0].isupper() for row in rows)


def test_head_boxes_lie_inside_the_pictures_of_trainval(pets):
    named = {line.split()[0] for line in (pets / "annotations/trainval.txt").read_text().splitlines()}
    assert {p.stem for p in (pets / "annotations/xmls").iterdir()} == named
    for name in named:
        box = ET.parse(pets / f"annotations/xmls/{name}.xml").getroot()
        x0, y0, x1, y1, width, height = (
            int(box.findtext(f".//{tag}")) for tag in ("xmin", "ymin", "xmax", "ymax", "width", "height")
        )
        assert Image.open(pets / f"images/{name}.jpg").size == (width, height)
        assert 1 <= x0 < x1 <= width and 1 <= y0 < y1 <= height


def test_split_is_stratified_and_follows_the_seed():
    for per_breed in (1, 4, 7):
        counts = Counter((e.breed, e.part) for e in set_entries(per_breed, seed=5))
        assert all(counts[breed, "trainval"] == (per_breed + 1) // 2 for breed in BREEDS)
        assert all(counts[breed, "test"] == per_breed // 2 for breed in BREEDS)
    assert set_entries(8, seed=1) == set_entries(8, seed=1) != set_entries(8, seed=2)


def test_one_picture_a_breed_is_all_for_training(tmp_path):
    make_paperpets(tmp_path / "oxford-iiit-pet", per_breed=1, scale=0.1)
    assert len(OxfordIIITPet(tmp_path, split="trainval")) == 37
    assert len(OxfordIIITPet(tmp_path, split="test")) == 0


def test_sizes_follow_the_photographs_and_the_scale():
    sizes = Counter(picture_size(breed, n, seed=9, scale=1) for breed in BREEDS for n in range(1, 101))
    for size, share in {
        (500, 375): 0.22,
        (500, 333): 0.14,
        (300, 225): 0.06,
        (333, 500): 0.06,
        (375, 500): 0.05,
    }.items():
        assert abs(sizes[size] / sizes.total() - share) < 0.03
    assert len(sizes) > 100 and min(map(min, sizes)) > 100 and max(map(max, sizes)) <= 1000
    for number in range(1, 50):
        full, half = picture_size("pug", number, scale=1), picture_size("pug", number, scale=0.5)
        assert all(abs(b - a / 2) <= 1 for a, b in zip(full, half))


# ---------------------------------------------------------------- the same bytes
def test_same_bytes_with_two_workers(pets, tmp_path):
    assert contents(make_paperpets(tmp_path / "two", workers=2, **SMALL)) == contents(pets)


def test_a_picture_depends_on_its_name_and_the_seed_alone(pets, tmp_path):
    one, two = contents(make_paperpets(tmp_path / "more", **{**SMALL, "per_breed": 3})), contents(pets)
    shared = [name for name in two if name.startswith("images/")]
    assert len(shared) == 74 and all(one[name] == two[name] for name in shared)
    other = contents(make_paperpets(tmp_path / "other", **{**SMALL, "seed": 4}))
    assert all(other[name] != two[name] for name in shared)


def test_fingerprint_names_the_content(pets, tmp_path):
    manifest = json.loads((pets / "paperpets.json").read_text())
    assert manifest["fingerprint"] == set_fingerprint(pets) and manifest["pictures"] == 74
    copy = make_paperpets(tmp_path / "copy", **SMALL)
    assert set_fingerprint(copy) == set_fingerprint(pets)
    (copy / "annotations/trimaps/pug_1.png").write_bytes(b"")
    assert set_fingerprint(copy) != set_fingerprint(pets)


def test_recipe_key_tells_sets_apart():
    keys = [recipe_key(), recipe_key(seed=1), recipe_key(scale=1), recipe_key(per_breed=1), recipe_key(dirty=True)]
    assert len(set(keys)) == 5 and recipe_key(scale=1) == recipe_key(scale=1.0)


# ---------------------------------------------------------------- disturbed
def start(dest, per_breed):
    "Draw a set in another process, from a script without a main guard."
    call = f"make_paperpets({str(dest)!r}, per_breed={per_breed}, scale=0.1, workers=2)"
    code = f"from petbreeds.paperpets.dataset import make_paperpets\n{call}"
    script = dest.parent / "script.py"
    script.write_text(code)
    return subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True)


def wait_for_pictures(dest, count=20):
    deadline = time.monotonic() + 120
    while not (dest / "images").is_dir() or len(os.listdir(dest / "images")) < count:
        assert time.monotonic() < deadline, "nothing was drawn"
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_run_again_completes(clean, tmp_path, how):
    dest = tmp_path / "pets"
    process = start(dest, per_breed=6)
    wait_for_pictures(dest)
    process.send_signal(how)
    process.communicate(timeout=60)  # ends when the workers have let go of stderr, too
    assert process.returncode != 0 and not (dest / "paperpets.json").exists()
    for file in (dest / "images").iterdir():
        Image.open(file).load()  # what has its name is whole
    if how == signal.SIGINT:  # nobody goes on drawing
        there = len(os.listdir(dest / "images"))
        time.sleep(0.5)
        assert len(os.listdir(dest / "images")) == there < 37 * 6
    assert contents(make_paperpets(dest, per_breed=6, scale=0.1)) == contents(clean)


def test_finished_set_is_not_touched(pets):
    times = {p: p.stat().st_mtime_ns for p in [pets, *pets.rglob("*")]}
    assert make_paperpets(pets, **SMALL) == pets
    assert {p: p.stat().st_mtime_ns for p in [pets, *pets.rglob("*")]} == times


def test_lost_files_are_drawn_again_and_only_those(pets, tmp_path, monkeypatch):
    dest = make_paperpets(tmp_path / "pets", **SMALL)
    for file in ("images/pug_1.jpg", "annotations/trimaps/Bengal_2.png"):
        (dest / file).unlink()
    drawn = []
    draw = dataset.draw_pet
    monkeypatch.setattr(dataset, "draw_pet", lambda breed, *args: drawn.append(breed) or draw(breed, *args))
    make_paperpets(dest, **SMALL)
    assert sorted(drawn) == ["Bengal", "pug"] and contents(dest) == contents(pets)


def test_two_programs_may_draw_one_set(tmp_path):
    both = [start(tmp_path / "pets", per_breed=4) for _ in range(2)]
    assert [process.communicate(timeout=120)[1] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert contents(tmp_path / "pets") == contents(make_paperpets(tmp_path / "alone", per_breed=4, scale=0.1))


def test_a_worker_that_dies_is_said(tmp_path, monkeypatch):
    def start_dead(job):
        return subprocess.Popen(
            [sys.executable, "-c", "pass"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    monkeypatch.setattr(dataset, "_start_worker", start_dead)
    with pytest.raises(RuntimeError, match="make the same call again") as error:
        make_paperpets(tmp_path / "pets", workers=2, **SMALL)
    one_line(error)
    monkeypatch.undo()
    assert len(os.listdir(make_paperpets(tmp_path / "pets", **SMALL) / "images")) == 74


# ---------------------------------------------------------------- refused
def test_foreign_folder_is_not_touched(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/pug_1.jpg").write_bytes(b"mine")
    with pytest.raises(FileExistsError) as error:
        make_paperpets(tmp_path, **SMALL)
    assert "give a new or empty folder" in one_line(error)
    assert contents(tmp_path) == {"images/pug_1.jpg": b"mine"} and os.listdir(tmp_path) == ["images"]


@pytest.mark.parametrize("other", [dict(per_breed=3), dict(seed=0), dict(scale=0.2), dict(dirty=True)])
def test_another_set_is_not_touched(pets, other):
    before = contents(pets)
    with pytest.raises(FileExistsError, match="holds another set") as error:
        make_paperpets(pets, **{**SMALL, **other})
    assert f"{next(iter(other))} is " in one_line(error) and contents(pets) == before


def test_unfinished_set_of_other_code_is_not_mixed(tmp_path, monkeypatch):
    dest = make_paperpets(tmp_path / "pets", **SMALL)
    (dest / "images/pug_1.jpg").unlink()
    monkeypatch.setattr(dataset.PIL, "__version__", "0.0")
    with pytest.raises(FileExistsError, match="pillow is"):
        make_paperpets(dest, **SMALL)


def test_damaged_manifest_is_said(tmp_path):
    (tmp_path / "paperpets.json").write_text('{"recipe": ')
    with pytest.raises(FileExistsError, match="damaged") as error:
        make_paperpets(tmp_path, **SMALL)
    assert "delete" in one_line(error)


def test_file_in_the_way(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    for dest in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(OSError) as error:
            make_paperpets(dest, **SMALL)
        assert str(dest) in one_line(error)
    assert contents(tmp_path) == {"file": b"mine"}


def test_full_disk_is_said_in_one_line_and_can_be_completed(pets, tmp_path, monkeypatch):
    write, written = files._write_new, []

    def write_until_full(path, data, durable):
        written.append(path)
        if len(written) > 30:
            write(path, data[: len(data) // 2], durable)  # a half file, as a full disk leaves it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data, durable)

    with monkeypatch.context() as full:
        full.setattr(files, "_write_new", write_until_full)
        with pytest.raises(OSError) as error:
            make_paperpets(tmp_path / "pets", workers=1, **SMALL)
    assert error.value.errno == errno.ENOSPC and str(tmp_path / "pets") in one_line(error)
    there = {name: data for name, data in contents(tmp_path / "pets").items() if not name.startswith("unfinished/")}
    assert 0 < len(there) <= 30 and there.items() <= contents(pets).items()
    assert [path.name for path in (tmp_path / "pets/unfinished").iterdir()] == ["recipe.json"]
    assert contents(make_paperpets(tmp_path / "pets", **SMALL)) == contents(pets)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(per_breed=0),
        dict(per_breed=-1),
        dict(per_breed=2.5),
        dict(scale=0),
        dict(scale=-1),
        dict(scale=1000),
        dict(scale=float("nan")),
        dict(seed="x"),
        dict(workers=0),
        dict(workers=-2),
    ],
)
def test_bad_arguments(tmp_path, wrong):
    with pytest.raises(ValueError) as error:
        make_paperpets(tmp_path / "pets", **wrong)
    assert next(iter(wrong)) in one_line(error) and not (tmp_path / "pets").exists()


def test_default_set_has_sixty_pictures_of_each_breed_half_of_them_for_the_test():
    parts = Counter((entry.breed, entry.part) for entry in set_entries())
    assert set(parts.values()) == {30} and len(parts) == 2 * 37


# ---------------------------------------------------------------- dirty
def test_each_dirty_file_has_its_fault(dirty):
    for name, fault in FAULTS.items():
        with Image.open(dirty / f"images/{name}.jpg") as image:
            assert image.format == {"png": "PNG", "gif": "GIF"}.get(fault, "JPEG")
            if fault == "cut":
                with pytest.raises(OSError, match="truncated"):
                    image.load()
            else:
                image.load()
    assert sorted(p.name for p in (dirty / "images").glob("*.mat")) == [f"Abyssinian_{n}.mat" for n in (100, 101, 102)]


@pytest.mark.filterwarnings("ignore:The image decoding")
def test_gap_is_heard_by_libjpeg(dirty, capfd):
    from torchvision.io import decode_jpeg, read_file

    decode_jpeg(read_file(str(dirty / "images/Bengal_1.jpg")))
    assert "Corrupt JPEG" not in capfd.readouterr().err
    decode_jpeg(read_file(str(dirty / "images/chihuahua_121.jpg")))
    assert "Corrupt JPEG" in capfd.readouterr().err


def test_dirty_files_leave_the_others_alone(dirty, clean):
    without, soiled = contents(clean), contents(dirty)
    same = [name for name in without if name.startswith("images/") and name != "images/Abyssinian_5.jpg"]
    assert len(same) == 37 * 6 - 1 and all(without[name] == soiled[name] for name in same)
    parts = [{e.name: e.part for e in set_entries(6, dirty=d)} for d in (False, True)]
    assert parts[0].items() <= parts[1].items()


def test_gifs_are_in_no_list_and_the_other_faults_are(dirty):
    listed = {line.split()[0] for line in (dirty / "annotations/list.txt").read_text().splitlines()[6:]}
    assert {name for name in FAULTS if name in listed} == {name for name, fault in FAULTS.items() if fault != "gif"}
    assert len(listed) == 37 * 6 + 5  # six faulty ones, of which one is among the first six


# ---------------------------------------------------------------- the exercises of notebook 00

EXERCISES = Exercises("00_paperpets")


def exercises():
    "A namespace with the notebook's checks and what they use."
    given = {}
    exec(
        "import random\nimport numpy as np\nfrom dataclasses import fields, replace\nfrom petbreeds.paperpets import *",
        given,
    )
    return EXERCISES.namespace(**given)


def test_solutions_pass_their_checks():
    space = exercises()
    checks = [name for name in space if name.startswith("check_")]
    assert len(checks) == len(EXERCISES.solutions) == len(EXERCISES.pairs) == 3
    for check, solution in zip(checks, EXERCISES.solutions):
        exec(solution, space)
        assert {space[check](space[check.removeprefix("check_")]) for _ in range(5)} == {"Right."}
        assert space[check](lambda *given: None).startswith("Not answered yet")
        assert "stopped with ZeroDivisionError" in space[check](lambda *given: 1 / 0)


@pytest.mark.parametrize(
    "check, answer, words",
    [
        ("longer", lambda breed, factor: replace(breed, ear_len=factor * breed.ear_len), "legs are as long as before"),
        ("longer", lambda breed, factor: replace(breed, leg=factor * breed.leg), "ears are as long as before"),
        ("longer", lambda breed, factor: replace(breed, leg=factor, ear_len=factor), "should be"),
        (
            "longer",
            lambda breed, factor: replace(breed, leg=factor * breed.leg, ear_len=factor * breed.ear_len, ear_w=9),
            "you changed",
        ),
        ("pet_share", lambda trimap: (trimap == 1).mean(), "the edge counts too"),
        ("pet_share", lambda trimap: (trimap != 2).mean(), "by half"),
        ("pet_share", lambda trimap: (trimap == 1).sum() + (trimap == 3).sum() / 2, "divide by the pixels"),
        ("pet_share", lambda trimap: 0.375, "instead of"),
        ("pet_box", lambda trimap: (0, 0), "a box has four sides"),
        (
            "pet_box",
            lambda trimap: (
                tuple(np.nonzero(trimap != 2)[axis].min() for axis in (1, 0))
                + tuple(np.nonzero(trimap != 2)[axis].max() for axis in (1, 0))
            ),
            "just outside",
        ),
        ("pet_box", lambda trimap: (3, 4, 9, 10), "instead of"),
    ],
)
def test_check_names_the_mistake(check, answer, words):
    assert words in exercises()[f"check_{check}"](answer)
