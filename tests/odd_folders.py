"""Folders of pictures as people, programs and accidents leave them, each made from a seed, and the question to ask
about each: a table of its pictures, or one line that says what is wrong, and no picture passed over in silence.
`test_fuzz.py` asks about some, `bench/fuzz_folders.py` about thousands."""
import csv
import io
import logging
import os
import random
import shutil
import unicodedata
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from unittest.mock import patch

from PIL import Image
from rights import as_others
from watching import Watch

from petbreeds.files import PetsError
from petbreeds.layout import audit, auditing, pets_table
from petbreeds.layout.sources import read_source
from petbreeds.pictures import EXTENSIONS

LABELS = ("pug", "Bengal", "beagle", "Schäferhund", "Maine Coon", "american_bulldog", "犬", "🐶 chien", "x" * 100,
          "=1+1", "-rf", "'", '"', "50 %", "tab\tby", "line\nend", "caf\udce9", "\u200fדוב", "CON", "IMG", "1_2", "#1",
          "a.b", "~", "گربه\u200cها", "👩\u200d🐶", "Maine\xa0Coon", "柴\u3000犬", "pug\u200b", "ｐｕｇ")
PARTS = (("train", "test"), ("train", "valid", "test"), ("Train", "Validation", "Test"), ("training", "val"))
RUBBISH = {"notes.txt": b"Dear all", "Thumbs.db": b"\xd0\xcf\x11\xe0", ".DS_Store": b"\0\0\0\1Bud1",
           "empty_1.jpg": b"", "words_1.jpg": b"no picture", "pug_3.mat": b"MATLAB", "README": b"read me",
           "cut_1.png": b"\x89PNG\r\n\x1a\n\0"}
ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252",
             "mac-roman", "cp932")


@lru_cache(maxsize=512)
def picture(number, kind="PNG"):
    "A small picture, another for each number."
    out = BytesIO()
    Image.new("RGB", (9, 8), (number % 256, number // 256 % 256, 7)).save(out, kind)
    return out.getvalue()


class Maker:
    "Makes one folder; what the disk refuses, such as a name, is left out."
    def __init__(self, folder, seed):
        self.rng = random.Random(f"folder {seed}")
        self.folder = Path(folder)
        self.number = 0
        self.made = []  # paths of pictures, relative to the folder, and their labels

    def form(self, text):
        return unicodedata.normalize(self.rng.choice(("NFC", "NFC", "NFD")), text)

    def put(self, name, data):
        with suppress(OSError, ValueError):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return path

    def pictures(self, inside, name, label, n):
        "Some pictures of a label; `name` gives the file name of a number."
        for number in range(1, n + 1):
            self.number += 1
            suffix = self.rng.choice(("jpg", "jpg", "JPG", "png", "jfif", "webp"))
            kind = "PNG" if suffix == "png" else "WEBP" if suffix == "webp" else "JPEG"
            relative = f"{inside}/{name(number)}.{suffix}"
            if self.put(relative, picture(self.number, kind)):
                self.made.append((relative, label))

    def labels(self):
        return [self.form(label) for label in self.rng.sample(LABELS, self.rng.randint(1, 5))]

    def few(self):
        return self.rng.choice((1, 2, 3, 5, 8))

    # layouts

    def oxford(self):
        for label in self.labels():
            self.pictures("images", lambda number: f"{label}_{number}", label, self.few())
        if self.rng.random() < 0.7:
            self.lists()

    def classes(self):
        top = self.rng.choice((".", ".", "images", "data"))
        parts = self.rng.choice(((None,), (None,), *PARTS))
        for part in parts:
            for label in self.labels() if self.rng.random() < 0.2 else self.same_labels():
                inside = "/".join(str(piece) for piece in (top, part, label) if piece)
                self.pictures(inside, lambda number: f"IMG_{number}", label, self.few())

    def same_labels(self):
        self.chosen = getattr(self, "chosen", None) or self.labels()
        return self.chosen

    def table(self):
        inside = self.rng.choice(("images", "photos", "."))
        for label in self.labels():
            self.pictures(inside, lambda number: f"{self.number}", label, self.few())
        self.write_table()

    def camera(self):
        for label in self.labels():
            name = self.rng.choice(("IMG", "DSC"))
            self.pictures(f"images/{label}", lambda number: f"{name}_{number}", label, self.few())

    def deep(self):
        inside = "images" + "/d" * self.rng.choice((1, 5, 40, 120))
        self.pictures(inside, lambda number: f"pug_{number}", "pug", 3)
        self.pictures("images", lambda number: f"Bengal_{number}", "Bengal", 3)

    def nothing(self):
        (self.folder / self.rng.choice(("images", "."))).mkdir(exist_ok=True)

    # lists and tables

    def text(self, lines):
        "Lines as some program writes them."
        ending = self.rng.choice(("\n", "\n", "\r\n", "\r"))
        return ending.join(lines).encode(self.rng.choice(ENCODINGS), "replace")

    def lists(self):
        names = [Path(relative).stem for relative, _ in self.made]
        for part in ("trainval", "test"):
            some = [name for name in names if self.rng.random() < self.rng.choice((0.5, 0.5, 1, 0))]
            numbers = self.rng.choice(("", " 1 1 1", " 1", "\t1\t2\t3"))
            suffix = self.rng.choice(("", "", "", ".jpg"))
            lines = [f"{self.form(name)}{suffix}{numbers}" for name in some]
            if self.rng.random() < 0.3:
                lines = ["#Image CLASS-ID SPECIES BREED ID", *lines, "", "gone_1 1 1 1"]
            if self.rng.random() < 0.9:
                self.put(f"annotations/{part}.txt", self.text(lines))

    def write_table(self):
        delimiter = self.rng.choice(",,;\t|")
        out = io.StringIO()
        writer = csv.writer(out, delimiter=delimiter, quoting=self.rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)))
        with_part = self.rng.random() < 0.4
        names = self.rng.choice((("file", "label"), ("File", "Label"), ("filename", "class"), ("label", "file"),
                                 ("a", "b")))
        writer.writerow([*names, "part"] if with_part else names)
        for relative, label in self.made:
            cell = self.rng.choice((relative, relative, relative.replace("/", "\\"), Path(relative).name))
            said = label if self.rng.random() < 0.97 else self.rng.choice(("", "other", " " + label))
            row = [cell, said] if names[0] != "label" else [said, cell]
            for _ in range(1 if self.rng.random() < 0.97 else 2):
                writer.writerow([*row, self.rng.choice(("train", "test", "valid", "Test", ""))] if with_part else row)
        if self.rng.random() < 0.15:
            writer.writerow(["../outside.jpg", "pug"])
        lines = out.getvalue().replace("\udce9", "?").split("\r\n")
        self.put(self.rng.choice(("labels.csv", "labels.csv", "Labels.csv", "my.csv")), self.text(lines))

    # accidents

    def rubbish(self):
        for name in self.rng.sample(sorted(RUBBISH), 3):
            self.put(f"images/{name}", RUBBISH[name])

    def links(self):
        outside = self.folder.parent / f"{self.folder.name}-outside"
        outside.mkdir(exist_ok=True)
        (outside / "pug_7.jpg").write_bytes(picture(70_000, "JPEG"))
        (self.folder / "images").mkdir(exist_ok=True)
        links = {"images/pug_8.jpg": outside / "pug_7.jpg", "images/linked": outside, "images/loop": self.folder,
                 "images/gone_1.jpg": self.folder / "gone", "images/self_1.jpg": self.folder / "images/self_1.jpg",
                 "circle": self.folder / "circle"}
        for name, target in self.rng.sample(sorted(links.items()), 3):
            with suppress(OSError):
                (self.folder / name).symlink_to(target)

    def permissions(self):
        places = [self.folder, *sorted(path for path in self.folder.rglob("*") if not path.is_symlink())]
        for path in self.rng.sample(places, min(2, len(places))):
            path.chmod(self.rng.choice((0, 0o222, 0o444)))

    def pipe(self):
        with suppress(OSError):
            os.mkfifo(self.folder / "images" / "pipe_1.jpg")

    def second_reading(self):
        self.rng.choice((self.write_table, self.lists, self.classes, self.oxford))()


LAYOUTS = (Maker.oxford, Maker.oxford, Maker.classes, Maker.classes, Maker.table, Maker.camera, Maker.deep,
           Maker.nothing)
ACCIDENTS = (Maker.rubbish, Maker.links, Maker.permissions, Maker.pipe, Maker.second_reading)


def odd_folder(parent, seed):
    "Make the folder with this seed: its path, and the name of its layout."
    folder = Path(parent) / f"set-{seed}"
    folder.mkdir()
    maker = Maker(folder, seed)
    layout = maker.rng.choice(LAYOUTS)
    layout(maker)
    accidents = [accident for accident in ACCIDENTS if maker.rng.random() < 0.2]
    for accident in sorted(accidents, key=lambda accident: accident is Maker.permissions):  # these come last
        accident(maker)
    return folder, layout.__name__


# The question

def pictures_below(root):
    "Pictures that are there to be found: not hidden, in folders that can be listed, and behind no link to a folder."
    for inside, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "annotations"]
        for name in names:
            if not name.startswith(".") and Path(name).suffix[1:].lower() in EXTENSIONS:
                yield Path(inside) / name


@contextmanager
def notices():
    "What the package logs meanwhile goes nowhere: it is allowed to speak."
    logger = logging.getLogger("petbreeds")
    before = logger.propagate
    handler = logging.NullHandler()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def answer_about(folder, labels):
    "'table' or 'refused', what was wrong with the answer, and what there was to know."
    try:
        table = pets_table(folder, labels) if labels else pets_table(folder)
    except PetsError as error:
        return "refused", "" if len(str(error).splitlines()) == 1 else f"not one line: {error}"
    with patch.object(auditing, "_complaints", lambda files: []):  # a process for each folder takes too long
        found = audit(folder, labels)
    if not set(table.part) <= {"train", "valid", "test", ""}:
        return "table", f"parts: {sorted(set(table.part))}"
    if table.file.duplicated().any() or not table.label.str.strip().all():
        return "table", "a file twice, or without a label"
    if missing := [name for name in table.file if not (folder / name).is_file()]:
        return "table", f"no such file: {missing[:3]}"
    root = read_source(folder, labels, split=False).root
    named = {folder / name for name in table.file} | {root / name for name in found.file}
    if silent := sorted(path.name for path in set(pictures_below(root)) - named):
        return "table", f"silence: {silent[:3]}"
    return "table", ""


def opened(folder):
    "Open what `permissions` closed, so that it can be removed."
    folder.chmod(0o755)
    for inside, folders, _ in os.walk(folder):
        for path in (Path(inside, name) for name in folders):
            if not path.is_symlink():
                path.chmod(0o755)


def judged(parent, seed):
    "What happened to one folder, as `odd_pictures.judged` says it."
    folder, layout = odd_folder(parent, seed)
    csvs = sorted(folder.glob("my.csv"))
    outcome, wrong = "none", ""
    with notices(), as_others(), Watch() as watch:
        outcome, wrong = answer_about(folder, csvs[0] if csvs else None)
    opened(folder)
    shutil.rmtree(folder)
    shutil.rmtree(f"{folder}-outside", ignore_errors=True)
    watch.wrong = watch.wrong or wrong
    return {"seed": seed, "kind": layout, "outcome": outcome, **watch.facts}
