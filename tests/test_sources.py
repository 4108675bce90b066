"Layouts, lists and tables: the same rows whichever way pictures come, two readings an error, nothing left out unsaid."

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rights import as_others, permissions_count

from petbreeds.layout import DataError, audit, breed_of, get_pets, pets_table, usable_images
from petbreeds.layout.lists import Finder, read_list, read_table, table_rows, text_of
from petbreeds.layout.sources import read_source


def put(folder, *names, **texts):
    "Pictures of noise under these names, and text files: `labels_csv` is labels.csv."
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, format="PNG")
    for name, text in texts.items():
        (folder / name.replace("__", "/").replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def rows(folder, labels=None):
    "File: (label, part), as the table says."
    return {row.file: (row.label, row.part) for row in pets_table(folder, labels).itertuples()}


def refused(folder, labels=None):
    "The one line with which a folder is refused."
    with pytest.raises(DataError) as error:
        pets_table(folder, labels)
    message = str(error.value)
    assert "\n" not in message and ":" in message, message
    return message


# ---------------------------------------------------------------- the same pictures in every layout


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    "Drawn pets, named by breed and with the official lists."
    return get_pets("paper", per_breed=6, scale=0.1, home=tmp_path_factory.mktemp("home"))


def in_folders(drawn, place, images=""):
    "One folder for each class."
    for file in (drawn / "images").iterdir():
        (place / images / breed_of(file)).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / images / breed_of(file))


def in_parts(drawn, place):
    "The same below train/ and test/, as the lists have it."
    for row in pets_table(drawn).itertuples():
        folder = place / ("test" if row.part == "test" else "train") / row.label
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn / row.file, folder)


def in_a_table(drawn, place, encoding="utf-8", delimiter=",", end="\n"):
    "Pictures with any names, in one folder, and a table in an order of its own."
    place.mkdir()
    lines = []
    for row in pets_table(drawn).itertuples():
        shutil.copy(drawn / row.file, place)
        part = "test" if row.part == "test" else "train"
        lines.append(delimiter.join((Path(row.file).name, row.label, part)))
    text = end.join(["Bild;Rasse;Teil".replace(";", delimiter), *reversed(lines), ""])
    (place / "labels.csv").write_bytes(text.encode(encoding))


def test_every_layout_gives_the_same_labels_and_the_same_split(drawn, tmp_path):
    shutil.copytree(drawn / "images", tmp_path / "names" / "images")
    in_folders(drawn, tmp_path / "folders")
    in_folders(drawn, tmp_path / "below", "images")
    in_a_table(drawn, tmp_path / "table")
    text = (tmp_path / "table" / "labels.csv").read_text()
    (tmp_path / "table" / "labels.csv").write_text(text.replace(",train", ",").replace(",test", ","))
    expected = pets_table(tmp_path / "names")
    assert set(expected.part) == {"train", "valid", "test"}
    for layout in ("folders", "below", "table"):
        found = pets_table(tmp_path / layout)
        assert [Path(file).name for file in found.file] == [Path(file).name for file in expected.file], layout
        assert found.label.equals(expected.label) and found.part.equals(expected.part), layout


def test_a_given_split_is_the_same_in_every_layout(drawn, tmp_path):
    plain = shutil.copytree(drawn, tmp_path / "lists")
    (plain / "paperpets.json").unlink()  # so that a fifth is for validation everywhere
    in_parts(drawn, tmp_path / "parts")
    in_a_table(drawn, tmp_path / "table")
    in_a_table(drawn, tmp_path / "excel", "utf-16", "\t", "\r\n")
    in_a_table(drawn, tmp_path / "german", "cp1252", ";", "\r\n")
    in_a_table(drawn, tmp_path / "mac", "utf-8-sig", ",", "\r")
    expected = pets_table(plain)
    for layout in ("parts", "table", "excel", "german", "mac"):
        found = pets_table(tmp_path / layout)
        assert found.label.equals(expected.label) and found.part.equals(expected.part), layout


# ---------------------------------------------------------------- folders

SHAPES = {
    "class folders": (["pug/1.jpg", "Bengal/1.jpg"], "one folder per class; no parts given",
                      {"pug/1.jpg": "pug", "Bengal/1.jpg": "Bengal"}, {}),
    "a camera's names": (["images/Bengal/IMG_1.jpg", "images/Bengal/IMG_2.jpg", "images/Bombay/DSC_1.jpg"],
                         "one folder per class; no parts given",
                         {"images/Bengal/IMG_1.jpg": "Bengal", "images/Bombay/DSC_1.jpg": "Bombay"}, {}),
    "three parts": (["train/pug/1.jpg", "val/pug/1.jpg", "test/pug/1.jpg"], "one folder per class; parts from folders",
                    {}, {"train/pug/1.jpg": "train", "val/pug/1.jpg": "valid", "test/pug/1.jpg": "test"}),
    "images above parts": (["images/Train/pug/1.jpg", "images/TEST/Manx/1.jpg"],
                           "one folder per class; parts from folders", {"images/TEST/Manx/1.jpg": "Manx"},
                           {"images/Train/pug/1.jpg": "train", "images/TEST/Manx/1.jpg": "test"}),
    "images below parts": (["train/images/pug/1.jpg", "test/images/pug/2.jpg"],
                           "one folder per class; parts from folders",
                           {"train/images/pug/1.jpg": "pug"}, {"test/images/pug/2.jpg": "test"}),
    "names below parts": (["train/pug_1.jpg", "train/Manx_1.jpg", "test/pug_2.jpg"],
                          "labels in the file names; parts from folders",
                          {"train/Manx_1.jpg": "Manx"}, {"test/pug_2.jpg": "test"}),
    "parts below classes": (["pug/train/1.jpg", "pug/test/2.jpg", "Manx/train/3.jpg"],
                            "one folder per class; parts from folders",
                            {"Manx/train/3.jpg": "Manx"}, {"pug/test/2.jpg": "test"}),
    "a class called train": (["train/1.jpg", "bus/2.jpg", "car/3.jpg"], "one folder per class; no parts given",
                             {"train/1.jpg": "train", "bus/2.jpg": "bus"}, {}),
    "groups above classes": (["cats/Manx/1.jpg", "dogs/pug/1.jpg"], "one folder per class; no parts given",
                             {"cats/Manx/1.jpg": "Manx", "dogs/pug/1.jpg": "pug"}, {}),
    "a folder in a class": (["pug/1.jpg", "pug/more/2.jpg", "Manx/3.jpg"], "one folder per class; no parts given",
                            {"pug/more/2.jpg": "pug"}, {}),
    "one folder for all": (["images/all/pug_1.jpg", "images/all/Manx_1.jpg"],
                           "labels in the file names; no parts given", {"images/all/pug_1.jpg": "pug"}, {}),
    "no images/": (["pug_1.jpg", "Manx_1.jpg"], "labels in the file names; no parts given", {"pug_1.jpg": "pug"}, {}),
    "an empty images/": (["pug/1.jpg", "Manx/1.jpg"], "one folder per class; no parts given", {"pug/1.jpg": "pug"}, {}),
    "lists beside folders": (["pug/1.jpg", "Manx/2.jpg"], "one folder per class; parts from train.txt, test.txt", {},
                             {"pug/1.jpg": "train", "Manx/2.jpg": "test"}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_layout_is_told_from_what_is_there(tmp_path, shape):
    names, layout, labels, parts = SHAPES[shape]
    put(tmp_path, *names)
    if shape == "an empty images/":
        (tmp_path / "images").mkdir()
    if shape == "lists beside folders":
        put(tmp_path, train_txt="pug/1.jpg\n", test_txt="Manx\\2\n")
    source = read_source(tmp_path)
    assert source.layout == layout
    assert {name: source.labels[tmp_path / name] for name in labels} == labels
    assert {name: source.parts[tmp_path / name] for name in parts} == parts
    assert set(source.labels) == {tmp_path / name for name in names}


@pytest.mark.parametrize("given, expected", [
    ("train test", {"train": 7, "valid": 1, "test": 3}),  # one of pug's six for validation
    ("train val", {"train": 6, "valid": 3, "test": 2}),  # the test is drawn
    ("train val test", {"train": 8, "valid": 3, "test": 3}),
    ("train", {"train": 5, "valid": 1, "test": 2}),  # one part is no split
])
def test_parts_that_folders_lack_are_drawn(tmp_path, given, expected, caplog):
    caplog.set_level("INFO", "petbreeds")
    for part in given.split():
        put(tmp_path, *(f"{part}/pug/{part}{number}.jpg" for number in range(6 if part == "train" else 2)),
            *(f"{part}/Manx/{part}{number}.jpg" for number in range(2 if part == "train" else 1)))
    table = pets_table(tmp_path)
    assert table.part.value_counts().to_dict() == expected
    assert ("test" in given) == (not any("a fifth of each class is the test" in line for line in caplog.messages))
    for part, word in (("val", "valid"), ("test", "test")):
        if part in given.split():
            assert set(table.part[table.file.str.startswith(part)]) == {word}


def test_a_picture_in_no_part_of_a_split_is_named(tmp_path, caplog):
    caplog.set_level("INFO", "petbreeds")
    put(tmp_path, "train/pug/1.jpg", "test/pug/2.jpg", "extra/pug/3.jpg", "train/Manx/4.jpg", "test/Manx/5.jpg")
    assert rows(tmp_path)["extra/pug/3.jpg"] == ("pug", "")
    assert "1 of 5 pictures are given no part and are left out: 3.jpg" in caplog.messages


# ---------------------------------------------------------------- labels are text

LABELS = ["犬", "Schäferhund", "Löwchen, lang", "pug's \"best\"", "None", "NA", "007", "🐈", "дог", "a b",
          "\u0645\u0648", "گربه\u200cها", "👩\u200d🐶", "Maine\xa0Coon", "柴\u3000犬"]


@pytest.mark.parametrize("label", LABELS)
def test_labels_may_be_any_text(tmp_path, label):
    put(tmp_path / "folders", f"{label}/1.jpg", f"{label}/2.jpg", "pug/3.jpg")
    assert rows(tmp_path / "folders")[f"{label}/1.jpg"][0] == label
    quoted = label.replace('"', '""')
    put(tmp_path / "table", "1.jpg", "2.jpg", labels_csv=f'file,label\n1,"{quoted}"\n2.jpg,pug\n')
    assert rows(tmp_path / "table")["1.jpg"][0] == label
    put(tmp_path / "names" / "images", f"{label}_1.jpg", "pug_2.jpg")
    assert rows(tmp_path / "names")[f"images/{label}_1.jpg"][0] == label


def test_unicode_forms_are_one_label_and_files_open_by_their_own_name(tmp_path):
    composed, split = (unicodedata.normalize(form, "Schäferhund") for form in ("NFC", "NFD"))
    put(tmp_path / "folders", f"{composed}/1.jpg", f"{split}/2.jpg", "pug/3.jpg")
    if len(list((tmp_path / "folders").iterdir())) == 2:
        pytest.skip("this disk takes both forms for one name")
    found = rows(tmp_path / "folders")
    assert found[f"{composed}/1.jpg"][0] == found[f"{split}/2.jpg"][0] == composed
    assert all((tmp_path / "folders" / file).is_file() for file in found)
    put(tmp_path / "table", f"{split}.jpg", "b.jpg", labels_csv=f"{composed}.jpg,{split}\nb.jpg,pug\n")
    assert rows(tmp_path / "table")[f"{split}.jpg"][0] == composed
    both = put(tmp_path / "both", f"{composed}.jpg", f"{split}.jpg")
    finder = Finder(list(both.iterdir()), [both])  # each by its own name, none by a looser one
    assert finder.find(f"{composed}.jpg").name == f"{composed}.jpg"
    assert finder.find(f"{split}.jpg").name == f"{split}.jpg"
    with pytest.raises(DataError, match="fits two pictures"):
        finder.find(f"{composed.upper()}.jpg")


def test_labels_that_look_alike_are_named(tmp_path):
    put(tmp_path, "Great Dane/1.jpg", "great_dane/2.jpg", "pug/3.jpg")
    assert any("'Great Dane' and 'great_dane'" in notice for notice in read_source(tmp_path).notices)


@pytest.mark.parametrize("other", ["pug\u200b", "\ufeffpug", "ｐｕｇ", "pug\u200f", "p\xadug"])
def test_labels_that_differ_in_what_does_not_show_are_named(tmp_path, other):
    put(tmp_path, "pug/1.jpg", f"{other}/2.jpg", "Manx/3.jpg")
    assert any("'pug'" in notice and "hardly differ" in notice for notice in read_source(tmp_path).notices)


@pytest.mark.parametrize("name", ["IMG_1.jpg", "DSC_0001.JPG", "dscf_12.jpg", "PXL_20240131_12.jpg",
                                  "IMG_20240131_120101.jpg", "20240131_120101.jpg", "WhatsApp Image_1.jpeg"])
def test_what_a_camera_writes_is_no_label(tmp_path, name):
    put(tmp_path / "images", name, "pug_2.jpg", "Manx_2.jpg")
    assert sorted(label for label, _ in rows(tmp_path).values()) == ["Manx", "pug"]
    assert audit(tmp_path).query("fault == 'unlabelled'").file.tolist() == [name]


def test_pictures_without_any_label_and_a_table_that_nobody_named(tmp_path):
    put(tmp_path, "IMG_1.jpg", "DSC_2.jpg", train_csv="file,label\nIMG_1,pug\nDSC_2,Manx\n")
    assert "--labels train.csv?" in refused(tmp_path)
    assert set(rows(tmp_path, "train.csv").values()) == {("pug", "train"), ("Manx", "train")}


# ---------------------------------------------------------------- tables

TABLES = {
    "header": "file,label\n1.jpg,pug\n2.jpg,Manx\n",
    "no header": "1.jpg,pug\n2.jpg,Manx\n",
    "semicolons": "file;label\n1.jpg;pug\n2.jpg;Manx\n",
    "tabulators": "file\tlabel\n1.jpg\tpug\n2.jpg\tManx\n",
    "sep": "sep=;\nfile;label\n1.jpg;pug\n2.jpg;Manx\n",
    "quotes": '"file","label"\n"1.jpg","pug"\n"2.jpg","Manx"\n',
    "spaces after commas": "file, label\n1.jpg, pug\n2.jpg, Manx\n",
    "other words": "rasse,bild\npug,1.jpg\nManx,2.jpg\n",
    "columns turned": "Class,Image ID\npug,1\nManx,2\n",
    "an index": ",file,label\n0,1.jpg,pug\n1,2.jpg,Manx\n",
    "empty rows and columns": "file,label,,\n\n1.jpg,pug,,\n,,,\n2.jpg,Manx,,\n\n\n",
    "comments": "# mine\nfile,label\n1.jpg,pug\n2.jpg,Manx\n",
    "paths": "path,label\n/home/me/1.jpg,pug\n.\\images\\2.jpg,Manx\n",
    "further columns": "id,age,breed\n1.jpg,3,pug\n2.jpg,4,Manx\n",
    "said twice": "1.jpg,pug\n2.jpg,Manx\n1.jpg,pug\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("form", TABLES)
def test_tables_as_spreadsheets_write_them(tmp_path, form, encoding, end):
    put(tmp_path, "1.jpg", "2.jpg")
    text = TABLES[form].replace("pug", "Möpse").replace("\n", end)
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    assert {file: label for file, (label, _) in rows(tmp_path).items()} == {"1.jpg": "Möpse", "2.jpg": "Manx"}


@pytest.mark.parametrize("text, expected", [
    ("file,label,part\n1,pug,train\n2,Manx,train\n3,pug,test\n4,Manx,\n", ["train", "train", "test", ""]),
    ("file,label,split\n1,pug,Training\n2,Manx,TRAINVAL\n3,pug,val\n4,Manx,Test\n",
     ["train", "train", "valid", "test"]),
    ("1,train,pug\n2,train,Manx\n3,valid,pug\n4,test,Manx\n", ["train", "train", "valid", "test"]),
    ("fname,labels,is_valid\n1,pug,False\n2,Manx,False\n3,pug,True\n4,Manx,True\n",
     ["train", "train", "valid", "valid"]),
])
def test_a_column_of_parts(tmp_path, text, expected):
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg", labels_csv=text)
    source = read_source(tmp_path)
    assert [source.parts.get(file, "") for file in source.files] == expected
    assert [source.labels[file] for file in source.files] == ["pug", "Manx"] * 2


def test_a_table_may_lie_elsewhere_and_has_to_be_there(tmp_path, monkeypatch):
    put(tmp_path / "pets", "1.jpg", "2.jpg")
    put(tmp_path, mine_csv="1,pug\n2,Manx\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = rows("pets", "mine.csv")
    assert len(expected) == 2 and expected == rows("pets", tmp_path / "mine.csv") == rows("~/pets", "~/mine.csv")
    assert "no table 'yours.csv'" in refused("pets", "yours.csv")
    shutil.copy("mine.csv", "pets/labels.csv")
    shutil.copy("mine.csv", "pets/labels.tsv")
    assert "two tables" in refused("pets") and rows("pets", "labels.tsv") == expected


@pytest.mark.parametrize("content, words", [
    (b"", "no two columns"), (b"1.jpg\n2.jpg\n", "no two columns"), (b"PK\3\4rest", "save the table as CSV"),
    (bytes(range(256)) * 9, "is no text"), (b"7.jpg,pug\n8.jpg,Manx\n", "labels none of the pictures"),
    (b"1.jpg,pug\n2.jpg,Manx\n1.jpg,Manx\n", "both 'pug' and 'Manx'"),
    (b"file,x\n1.jpg,\n2.jpg,\n", "no column of labels"),
    (b"file,label,part\n1,pug,train\n2,Manx,fold 3\n", "'fold 3' is no part"),
    (b'1.jpg,"pug\n' + b"x" * 200_000, "is no table"),
])
def test_a_table_that_cannot_be_used(tmp_path, content, words):
    put(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "labels.csv").write_bytes(content)
    assert words in refused(tmp_path)


def test_rows_without_a_picture_and_pictures_without_a_row_are_named(tmp_path, caplog):
    caplog.set_level("INFO", "petbreeds")
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg", labels_csv="file,label\n1,pug\n2,Manx\n3,\n9,Manx\n8,pug\n")
    assert set(rows(tmp_path)) == {"1.jpg", "2.jpg"}
    assert any("no picture has are left out, 2: 9, 8" in line for line in caplog.messages)
    assert any(line.endswith("left out: 3.jpg, 4.jpg") for line in caplog.messages)
    assert set(audit(tmp_path).query("fault == 'unlabelled'").file) == {"3.jpg", "4.jpg"}


def test_a_name_that_fits_two_pictures(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg", labels_csv="1.jpg,pug\n")
    assert "fits two pictures" in refused(tmp_path)
    put(tmp_path, labels_csv="a/1.jpg,pug\nb/1.jpg,Manx\n")
    assert {file: label for file, (label, _) in rows(tmp_path).items()} == {"a/1.jpg": "pug", "b/1.jpg": "Manx"}


def test_a_pipe_in_place_of_a_table_does_not_hang(tmp_path):
    put(tmp_path, "1.jpg")
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(DataError, match="no ordinary file"):
        text_of(tmp_path / "list.txt")


def test_many_delimiters(tmp_path):
    (tmp_path / "t.csv").write_text("a, b;x\nc, d, e;y\n")
    assert table_rows(tmp_path / "t.csv") == [["a, b", "x"], ["c, d, e", "y"]]


# ---------------------------------------------------------------- lists


def test_lists_name_pictures_in_class_folders(tmp_path):
    put(tmp_path, "pug/1.jpg", "pug/2.jpg", "Manx/1.jpg", "Manx/2.jpg",
        trainval_txt="pug/1 0\nManx/1 1\n", val_txt="Manx/1\n", test_txt="pug/2.jpg 0\nManx/2.jpg 1\n")
    assert rows(tmp_path) == {"pug/1.jpg": ("pug", "train"), "Manx/1.jpg": ("Manx", "valid"),
                              "pug/2.jpg": ("pug", "test"), "Manx/2.jpg": ("Manx", "test")}


def test_names_in_a_list_that_no_picture_has_are_named(tmp_path):
    put(tmp_path, "pug_1.jpg", "Manx_1.jpg", train_txt="pug_1\npug_7 1 1 1\n", test_txt="Manx_1\n")
    notices = read_source(tmp_path).notices
    assert any("names in train.txt" in notice and notice.endswith("1: pug_7") for notice in notices)


def test_names_with_spaces_and_numbers(tmp_path):
    put(tmp_path, "My pug 2_16.jpg", "7 7.jpg", "a,b.jpg", list_txt="My pug 2_16 1 2 3\n7 7\n'a,b.jpg'\n7 8\n")
    listed = read_list(tmp_path / "list.txt", Finder(list(tmp_path.glob("*.jpg")), [tmp_path]))
    assert [file.name for file in listed.pictures] == ["My pug 2_16.jpg", "7 7.jpg", "a,b.jpg"]
    assert len(listed.unknown) == 1


# ---------------------------------------------------------------- two readings


@pytest.mark.parametrize("names, texts, words", [
    (["beagle/pug_1.jpg", "pug/pug_2.jpg"], {}, ["folders say beagle, pug", "file names say pug", "beagle/pug_1.jpg"]),
    (["beagle/pug_1.jpg", "Manx/Manx_2.jpg"], {}, ["beagle or pug"]),
    ([f"{folder}/{breed}_{n}.jpg" for n in (1, 2) for folder, breed in
      (("cats", "Manx"), ("cats", "Bengal"), ("dogs", "pug"))], {}, ["cats, dogs (2)", "Bengal, Manx, pug (3)"]),
    ([f"{folder}/{folder}_{n}.jpg" for folder in ("pug", "Manx", "beagle") for n in (1, 2)] + ["pug/Manx_3.jpg"], {},
     ["pug/Manx_3.jpg is pug or Manx (pictures like this: 1)"]),
    (["pug/2019/1.jpg", "Manx/2019/2.jpg"], {}, ["Manx/2019 and pug/2019"]),
    (["pug_1.jpg", "Manx_1.jpg"], {"labels_csv": "pug_1,Manx\nManx_1,pug\n"}, ["rows in labels.csv say", "file names"]),
    (["pug_1.jpg", "Manx_1.jpg"], {"labels_csv": "pug_1,pugg\nManx_1,Manx\n"}, ["pugg or pug"]),
    (["pug/1.jpg", "Manx/2.jpg"], {"labels_csv": "1,Manx\n2,Manx\n3,pug\n"}, ["pug/1.jpg is Manx or pug"]),
    (["pug_1.jpg", "Manx_1.jpg"], {"labels_csv": "file,label,part\npug_1,pug,train\nManx_1,Manx,test\n",
                                   "train_txt": "Manx_1\n", "test_txt": "pug_1\n"},
     ["labels.csv", "test.txt", "pug_1"]),
    (["train/pug/1.jpg", "test/Manx/2.jpg"], {"train_txt": "2\n", "test_txt": "1\n"}, ["folders", "test.txt"]),
    (["train/pug/1.jpg", "test/Manx/2.jpg"], {"labels_csv": "file,label,part\n1,pug,test\n2,Manx,train\n"},
     ["folders", "labels.csv"]),
    (["pug_1.jpg", "Manx_1.jpg"], {"val_txt": "pug_1\n", "test_txt": "pug_1\n", "train_txt": "Manx_1\n"},
     ["test.txt repeats 1 of the validation pictures in val.txt (pug_1)"]),
])
def test_two_readings_are_an_error_that_shows_both(tmp_path, names, texts, words):
    message = refused(put(tmp_path, *names, **texts))
    assert all(word in message for word in words), message


@pytest.mark.parametrize("names", [
    ["Bengal/kitten_1.jpg", "Bengal/black_2.jpg", "Bombay/kitten_3.jpg"],
    ["Great Dane/great_dane_1.jpg", "Manx/manx_2.jpg"],
    ["pug/pug_1.jpg", "pug/IMG_1.jpg", "Manx/DSC_2.jpg"],
])
def test_names_that_are_no_labels_contradict_nothing(tmp_path, names):
    found = rows(put(tmp_path, *names))
    assert {file: label for file, (label, _) in found.items()} == {name: name.split("/")[0] for name in names}


def test_a_few_names_that_hold_another_word_are_named(tmp_path):
    put(tmp_path, "pug/pug_1.jpg", "pug/pug_2.jpg", "pug/found_3.jpg", "Manx/Manx_1.jpg")
    assert any("found_3.jpg): the folders count" in notice for notice in read_source(tmp_path).notices)


# ---------------------------------------------------------------- nothing is skipped in silence


def test_links_are_followed_and_circles_are_not(tmp_path):
    put(tmp_path / "disk" / "elsewhere", "1.jpg", "2.jpg")
    pets = put(tmp_path / "pets", "pug/3.jpg", "pug/4.jpg")
    (pets / "Manx").symlink_to(tmp_path / "disk" / "elsewhere")
    (pets / "again").symlink_to(pets / "pug")
    (pets / "pug" / "up").symlink_to(pets)
    (pets / "pug" / "5.jpg").symlink_to(tmp_path / "disk" / "elsewhere" / "1.jpg")
    (pets / "pug" / "6.jpg").symlink_to(tmp_path / "nowhere")
    assert set(rows(pets)) == {"pug/3.jpg", "pug/4.jpg", "pug/5.jpg", "Manx/1.jpg", "Manx/2.jpg"}
    faults = audit(pets).groupby("fault").file.apply(set)
    assert faults["linked twice"] == {"again", "pug/up"} and faults["unreadable"] == {"pug/6.jpg"}


def test_folders_that_link_to_one_another_end(tmp_path):
    put(tmp_path, *(f"{name}/1.jpg" for name in "abcdefgh"))
    for first in "abcdefgh":
        for second in "abcdefgh":
            (tmp_path / first / f"to_{second}").symlink_to(tmp_path / second)
    source = read_source(tmp_path)
    assert len(source.labels) == 8 and len(source.skipped) == 64


def test_hidden_files_and_other_files_are_named(tmp_path, caplog):
    put(tmp_path, "pug/1.png", "Manx/2.png", "pug/.3.jpg", ".thumbs/4.jpg")
    put(tmp_path, pug__notes_txt="...")
    assert len(rows(tmp_path)) == 2
    assert all(name in caplog.messages[0] for name in ("pug/.3.jpg", ".thumbs", "pug/notes.txt"))
    faults = dict(zip((found := audit(tmp_path)).file, found.fault))
    assert faults == {"pug/.3.jpg": "hidden", ".thumbs": "hidden", "pug/notes.txt": "not an image"}


needs_permissions = pytest.mark.skipif(not permissions_count(), reason="root, and no way to lay its rights down")


@needs_permissions
@pytest.mark.parametrize("mode", [0, 0o222, 0o444])
def test_what_may_not_be_read_is_named(tmp_path, caplog, mode):
    put(tmp_path, "pug/1.png", "Manx/2.png", "closed/3.png", "pug/4.png")
    (tmp_path / "pug" / "4.png").chmod(mode & 0o333)
    (tmp_path / "closed").chmod(mode)
    with as_others():
        assert len(rows(tmp_path)) == 2 and "closed" in caplog.messages[0] and "pug/4.png" in caplog.messages[0]
        found = audit(tmp_path)
    (tmp_path / "closed").chmod(0o755)
    assert set(found.fault) == {"unreadable"} and set(found.detail) == {"Permission denied"} and not found.usable.any()
    assert set(found.file) == {"pug/4.png", "closed/3.png" if mode == 0o444 else "closed"}


@needs_permissions
@pytest.mark.parametrize("closed", [".", "images", "annotations", "annotations/test.txt", "labels.csv"])
@pytest.mark.parametrize("mode", [0, 0o222, 0o444])
def test_a_closed_list_table_or_folder_is_an_error_in_one_line(tmp_path, closed, mode):
    pets = put(tmp_path / "pets", "images/pug_1.png", "images/Manx_2.png")
    (pets / "annotations").mkdir()
    put(pets, annotations__trainval_txt="pug_1\n", annotations__test_txt="Manx_2\n",
        labels_csv="pug_1,pug\nManx_2,Manx\n")
    (pets / closed).chmod(mode)
    try:
        with as_others():
            if mode == 0o444 and (pets / closed).suffix:
                assert len(rows(pets)) == 2  # it may be read
            else:
                assert "Permission denied" in refused(pets)
    finally:
        (pets / closed).chmod(0o755)


@needs_permissions
def test_a_link_to_what_is_closed_and_a_link_in_a_circle_beside_images(tmp_path):
    pets = put(tmp_path / "pets", "images/pug_1.png", "images/Manx_2.png")
    put(tmp_path / "closed" / "inside", "3.png")
    (pets / "circle").symlink_to(pets / "circle")
    (pets / "theirs").symlink_to(tmp_path / "closed" / "inside")
    (pets / "images" / "theirs").symlink_to(tmp_path / "closed" / "inside")
    (tmp_path / "closed").chmod(0)
    with as_others():
        assert len(rows(pets)) == 2
        found = audit(pets)
    (tmp_path / "closed").chmod(0o755)
    assert dict(zip(found.file, found.detail)) == {"theirs": "Permission denied"}


def test_pictures_beside_images_are_named(tmp_path):
    put(tmp_path, "images/pug_1.jpg", "images/Manx_1.jpg", "cover.jpg", "more/pug_2.jpg")
    (notice,) = read_source(tmp_path).notices
    assert "cover.jpg" in notice and "more/pug_2.jpg" in notice


def test_a_given_test_part_without_a_usable_picture(tmp_path):
    put(tmp_path, "train/pug/1.jpg", "train/Manx/2.jpg", "test/pug/3.jpg")
    (tmp_path / "test" / "pug" / "3.jpg").write_bytes(b"text")
    assert "no picture for test is left" in refused(tmp_path)
    assert len(usable_images(tmp_path)) == 2  # which needs no split


def test_an_audit_of_a_clean_class_folder_is_empty(tmp_path):
    put(tmp_path, "pug/1.png", "Manx/2.png", labels_csv="1,pug\n2,Manx\n")
    assert len(audit(tmp_path)) == 0


def test_a_table_read_by_itself(tmp_path):
    put(tmp_path, "1.jpg", labels_csv="file,label\n1,pug\n7,pug\n")
    table = read_table(tmp_path / "labels.csv", Finder([tmp_path / "1.jpg"], [tmp_path]))
    assert (table.labels, table.parts, table.unknown) == ({tmp_path / "1.jpg": "pug"}, {}, ["7"])
