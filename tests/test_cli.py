"The petbreeds command, as a shell runs it: the main job, interruptions, and every kind of bad input."
import csv
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rights import command_as_others, permissions_count
from safetensors.torch import load_file, save_file

from petbreeds import cli
from petbreeds.cli import doctor, terminal
from petbreeds.paperpets import make_paperpets

SMALL = ["--arch", "lcnet_050", "--from-scratch", "--size", "64", "--bs", "8"]


def command(*arguments):
    return [str(Path(sys.executable).parent / "petbreeds"), *map(str, arguments)]


def shell(*arguments, **options):
    "Run the command in a process of its own."
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, **options)


@pytest.fixture
def here(tmp_path, monkeypatch):
    "An empty working folder and an empty home for pictures."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETBREEDS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PETBREEDS_DATA", raising=False)
    monkeypatch.delenv(terminal.DEBUG, raising=False)
    return tmp_path


@pytest.fixture
def petbreeds(here, capsys):
    "Run the command in this process: (status, stdout, stderr)."
    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main(list(map(str, arguments)))
        said = capsys.readouterr()
        return end.value.code, said.out, said.err
    return run


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return make_paperpets(tmp_path_factory.mktemp("data") / "pets", per_breed=4, scale=0.3)


@pytest.fixture(scope="module")
def finished(pets, tmp_path_factory):
    "The main job, once: what it printed, and its run."
    folder = tmp_path_factory.mktemp("runs") / "run"
    colourful = {**os.environ, "FORCE_COLOR": "1"}  # no reason to draw a bar into a pipe
    return shell("train", "--data", pets, *SMALL, "--epochs", 3, "--out", folder, env=colourful), folder


def listing(folder):
    "Every file below a folder with its content."
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# ---- the main job

def test_training_says_how_well_it_did_and_where_the_report_is(finished):
    done, folder = finished
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["epoch", f"{epoch}/3"] for epoch in (1, 2, 3)]
    about = json.loads((folder / "run.json").read_text())
    rate, n = about["metrics"]["error_rate"], about["metrics"]["n"]
    assert lines[3].startswith(f"error rate {rate:.1%} on {n} test pictures (95 % interval ")
    assert lines[-1] == f"report: {folder / 'report.html'}"
    assert all(re.fullmatch(r"  \w+ taken for \w+: \d+", line) for line in lines[4:-1]) and len(lines) > 5
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "run.json", "history.csv", "report.html"}
    assert "\x1b" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert about["profile"]["schedule"] == {"epochs": 3, "lr": 3e-3, "head_epochs": 0, "views": 1}
    assert about["seed"] == 42


def test_the_same_seed_gives_the_same_run_and_another_seed_another(petbreeds, pets, finished):
    same = petbreeds("train", "--data", pets, *SMALL, "--epochs", 3)
    assert same[0] == 0, same[2]
    run = Path("runs") / f"{pets.name}-lcnet_050-1"
    for name in ("history.csv", "model.safetensors"):
        assert (run / name).read_bytes() == (finished[1] / name).read_bytes(), name
    assert petbreeds("train", "--data", pets, *SMALL, "--epochs", 1, "--seed", 7)[0] == 0
    other = Path("runs") / f"{pets.name}-lcnet_050-2"
    assert (other / "model.safetensors").read_bytes() != (run / "model.safetensors").read_bytes()
    assert json.loads((other / "run.json").read_text())["seed"] == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_stopped_in_training_it_goes_on_to_the_same_numbers(petbreeds, pets, finished, here, number):
    run = here / "run"
    process = subprocess.Popen(command("train", "--data", pets, *SMALL, "--epochs", 3, "--out", run),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    said = process.stdout.readline()  # the line of the first epoch
    os.killpg(process.pid, number)  # as a terminal does: the workers too
    rest, complaints = process.communicate(timeout=60)
    assert said.startswith("epoch 1/3") and "report" not in rest
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"continue with: petbreeds train --resume --out {run}" in complaints.splitlines()[-1]
        assert re.search(r"stopped after epoch [12] of 3", complaints) and "Traceback" not in complaints
    status, _, complaint = petbreeds("predict", run, pets / "images" / "pug_1.jpg")
    assert status == 1 and f"petbreeds train --resume --out {run}" in complaint
    status, out, complaint = petbreeds("train", "--resume", "--out", run)
    assert status == 0, complaint
    assert "epoch 3/3" in out and "epoch 1/3" not in out
    for name in ("history.csv", "model.safetensors"):
        assert (run / name).read_bytes() == (finished[1] / name).read_bytes(), name
    status, out, complaint = petbreeds("train", "--resume", "--out", run)
    assert status == 0 and "nothing to resume" in complaint and "error rate" in out


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_is_heeded_at_the_next_step():
    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with terminal.interruptible() as heed:
            heed()
            Dying()  # its exception is ignored
            with pytest.raises(KeyboardInterrupt):
                heed()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_full_disk_is_one_line(pets, here):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    done = shell("train", "--data", pets, *SMALL, "--epochs", 1, "--out", here / "run", preexec_fn=small_files)
    assert done.returncode == 1 and "cannot write" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr and not list(here.rglob("*.part"))


# ---- bad input

def broken_sets(pets, folder):
    "Folders that cannot be trained on, by name."
    folder.mkdir()
    def copy(name, keep):
        shutil.copytree(pets / "annotations", folder / name / "annotations")
        (folder / name / "images").mkdir()
        for file in filter(keep, (pets / "images").iterdir()):
            shutil.copy(file, folder / name / "images")
        return folder / name
    (folder / "empty").mkdir()
    (folder / "no-pictures" / "images").mkdir(parents=True)
    shutil.rmtree(copy("no-annotations", lambda file: True) / "annotations")
    copy("one-breed", lambda file: file.name.startswith("pug_"))
    copy("one-picture", lambda file: file.name.startswith("pug_") or file.name == "Bengal_1.jpg")
    for file in (copy("unreadable", lambda file: file.name.startswith(("pug_", "boxer_"))) / "images").iterdir():
        file.write_bytes(b"no picture at all")
    images = copy("huge", lambda file: False) / "images"
    for name in ("pug_1.png", "boxer_1.png"):
        Image.new("1", (12_000, 12_000)).save(images / name)
    images = copy("names", lambda file: file.name.startswith("pug_")) / "images"
    for number, file in enumerate(sorted(images.iterdir())):
        file.rename(images / f"IMG{number}.jpg")
    (folder / "file.txt").write_text("a file")


@pytest.mark.parametrize("data, words", [
    ("nowhere", "no folder"), ("empty", "no images in"), ("no-pictures", "no images in"), ("file.txt", "is a file"),
    ("one-breed", "only one breed"), ("one-picture", "Bengal"),
    ("unreadable", "no picture"), ("huge", "no picture"), ("names", "IMG0.jpg")])
def test_bad_data_is_refused_in_one_line(petbreeds, pets, here, data, words):
    broken_sets(pets, here / "sets")
    before = listing(here)
    status, out, complaint = petbreeds("train", "--data", here / "sets" / data, *SMALL, "--epochs", 1)
    last = complaint.splitlines()[-1]
    assert status == 1 and words in last and last.startswith("petbreeds: ") and not out
    assert not re.search("Traceback|internal error", complaint)
    told = ("left out", "labels in the file names", "no official split")
    assert all(any(words in line for words in told) for line in complaint.splitlines()[:-1])
    assert listing(here) == before and not (here / "runs").exists()


@pytest.mark.parametrize("arguments, status, words", [
    ("train --lr -0.1", 2, "--lr -0.1"), ("train --lr nan", 2, "--lr nan"), ("train --lr inf", 2, "--lr inf"),
    ("train --lr fast", 2, "--lr"), ("train --epochs -1", 2, "--epochs -1"),
    ("train --from-scratch --epochs 0", 2, "train nothing"),
    ("train --freeze-epochs -1", 2, "--freeze-epochs"),
    ("train --bs 0", 2, "--bs 0"), ("train --size 4", 2, "--size 4"), ("train --seed -1", 2, "--seed -1"),
    ("train --split random", 2, "--split"), ("train --data PETS --arch resnet43", 1, "resnet34"),
    ("train --weights none", 2, "--weights"), ("train --data PETS --out PETS", 1, "not empty"),
    ("train --data PETS --out PETS --overwrite", 1, "not empty"), ("train --data PETS --out RUN", 1, "--overwrite"),
    ("train --data PETS --out PETS/annotations/list.txt/run", 1, "is a file"),
    ("train --resume", 2, "--out"), ("train --resume --out PETS", 1, "no run in"),
    ("train --resume --out RUN --lr 0.1 --overwrite", 2, "leave out --lr, --overwrite"),
    ("predict nowhere a.jpg", 1, "no run in nowhere"), ("predict PETS a.jpg", 1, "no run in"),
    ("predict RUN", 2, "IMAGE"),
    ("predict RUN --top 0 a.jpg", 2, "--top"), ("report nowhere", 1, "no run in nowhere"),
    ("data nowhere", 1, "no folder"),
    ("report RUN --data nowhere", 1, "no folder"), ("train --data=", 2, "--data is empty"),
    ("train --epochs two", 2, "integer. See"),
    ("data --per-breed 0", 2, "--per-breed"), ("trian", 2, "trian"), ("train --colour red", 2, "--colour")])
def test_a_wrong_call_is_one_line_and_changes_nothing(petbreeds, pets, finished, here, arguments, status, words):
    before = listing(finished[1]), listing(pets)
    got, out, complaint = petbreeds(*arguments.replace("PETS", str(pets)).replace("RUN", str(finished[1])).split())
    assert got == status and words in complaint and complaint.startswith("petbreeds: ")
    assert len(complaint.splitlines()) == 1 and "internal error" not in complaint and not out
    assert (listing(finished[1]), listing(pets)) == before and not (here / "runs").exists()


def test_good_pictures_beside_bad_ones_are_used_and_the_bad_ones_named(petbreeds, pets, here):
    data = Path(shutil.copytree(pets, here / "pets"))
    bad = {"pug_1.jpg": b"", "beagle_1.jpg": b"text",
           "boxer_1.jpg": (data / "images" / "boxer_1.jpg").read_bytes()[:500],
           "notes.txt": b"notes", "holiday.jpg": (data / "images" / "pug_2.jpg").read_bytes()}
    for name, content in bad.items():
        (data / "images" / name).write_bytes(content)
    Image.new("1", (12_000, 12_000)).save(data / "images" / "Bengal_1.jpg")
    before = listing(data)
    status, out, complaint = petbreeds("train", "--data", data, *SMALL, "--epochs", 1)
    assert status == 0 and "error rate" in out
    assert "6 of 150 files in images/ cannot be used and are left out: " in complaint
    assert all(name in complaint for name in [*bad, "Bengal_1.jpg"])
    status, out, _ = petbreeds("data", data)
    assert status == 0 and all(f"{name}: " in out for name in [*bad, "Bengal_1.jpg"]) and "6 unusable files" in out
    assert listing(data) == before


@pytest.mark.parametrize("breed", [b"caf\xe9", b"tab\tby", b"x" * 101], ids=["no utf-8", "tabulator", "101 letters"])
def test_a_breed_that_cannot_be_written_down_is_refused_before_training(petbreeds, pets, here, breed):
    data = here / "pets"
    (data / "images").mkdir(parents=True)
    try:
        for number, file in enumerate(sorted((pets / "images").glob("pug_*")), 1):
            shutil.copy(file, data / "images")
            shutil.copy(file, os.fsencode(data / "images") + b"/%s_%d.jpg" % (breed, number))
    except OSError:
        pytest.skip("no such names on this disk")
    status, out, complaint = petbreeds("train", "--data", data, *SMALL, "--bs", 2)
    assert status == 1 and "cannot be written down" in complaint.splitlines()[-1] and not out
    assert not (here / "runs").exists()


def test_a_breed_may_be_called_whatever_people_write(petbreeds, pets, here):
    "Persian and some emoji need characters that Python does not call printable; spreadsheets write odd spaces."
    labels = ["گربه\u200cی ایرانی", "👩\u200d🐶", "Maine\xa0Coon", "柴\u3000犬"]
    for number, label in enumerate(labels):
        for file in sorted((pets / "images").glob("[pb]*.jpg"))[4 * number:4 * number + 4]:
            (here / "pets" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, here / "pets" / label)
    status, out, complaint = petbreeds("data", "pets")
    assert status == 0 and all(" ".join(label.split()) in out for label in labels), complaint
    status, _, complaint = petbreeds("train", "--data", "pets", *SMALL, "--bs", 2, "--epochs", 1, "--out", "run")
    assert status == 0, complaint
    assert json.loads(Path("run/run.json").read_text())["vocabulary"] == sorted(labels)
    assert labels[0] in Path("run/report.html").read_text(encoding="utf-8")
    status, out, _ = petbreeds("predict", "run", here / "pets" / labels[0], "--json")
    assert status == 0 and {top["breed"] for row in json.loads(out) for top in row["top"]} == set(labels)


@pytest.mark.skipif(not permissions_count(), reason="root, and no way to lay its rights down")
def test_what_may_not_be_read_is_named_and_the_others_are_used(pets, finished, here):
    data = Path(shutil.copytree(pets, here / "pets"))
    (data / "images" / "closed").mkdir()
    shutil.copy(data / "images" / "pug_1.jpg", data / "images" / "closed")
    (data / "images" / "closed").chmod(0)
    (data / "images" / "pug_2.jpg").chmod(0)

    def others(*arguments):
        done = subprocess.run(command_as_others(command(*arguments)), capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout, done.stderr
    status, out, _ = others("data", data)
    assert status == 0 and "closed: unreadable (Permission denied); left out" in out and "pug_2.jpg: unreadable" in out
    status, _, complaint = others("train", "--data", data, *SMALL, "--epochs", 1, "--out", "run")
    assert status == 0 and "closed" in complaint and "pug_2.jpg" in complaint
    inside = data / "images" / "closed" / "pug_1.jpg"
    good = data / "images" / "pug_3.jpg"
    status, out, complaint = others("predict", "run", good, inside, data / "images" / "pug_2.jpg", "--json")
    assert status == 1 and [("top" in row) for row in json.loads(out)] == [True, False, False]
    assert complaint.count("unreadable (Permission denied)") == 2
    (data / "images").chmod(0)
    status, out, complaint = others("report", "run")
    assert status == 0 and "Traceback" not in complaint
    status, _, complaint = others("data", data)
    (data / "images").chmod(0o755)
    (data / "images" / "closed").chmod(0o755)
    assert status == 1 and "Permission denied" in complaint and len(complaint.splitlines()) == 1


def test_a_path_that_cannot_be_looked_at_costs_its_own_answer_only(petbreeds, pets, finished):
    good = pets / "images" / "pug_1.jpg"
    odd = ["x" * 300 + ".jpg", "~nobody_of_this_name/1.jpg", f"{good}/2.jpg"]
    status, out, complaint = petbreeds("predict", finished[1], good, *odd, good, "--json")
    answers = json.loads(out)
    assert status == 1 and [("top" in answer) for answer in answers] == [True, False, False, False, True]
    assert len(complaint.splitlines()) == 3 and "no home folder is known" in complaint


def test_what_file_names_hold_does_not_reach_the_terminal(petbreeds, pets, here):
    data = Path(shutil.copytree(pets, here / "pets"))
    try:
        Path(os.fsdecode(os.fsencode(data / "images") + b"/a\x1b[31mred\n\xe9.jpg")).write_text("no picture")
    except OSError:
        pytest.skip("no such names on this disk")
    status, out, _ = petbreeds("data", data)
    assert status == 0 and r"  a\x1b[31mred \udce9.jpg: not an image" in out and "\x1b" not in out


def test_pictures_in_a_folder_whose_name_is_not_utf_8_can_be_trained_on(petbreeds, pets, here):
    data = Path(os.fsdecode(os.fsencode(here) + b"/caf\xe9"))
    try:
        shutil.copytree(pets, data)
    except OSError:
        pytest.skip("no such names on this disk")
    status, out, complaint = petbreeds("train", "--data", data, *SMALL, "--epochs", 1)
    assert status == 1 and "not UTF-8; choose another folder" in complaint and not out and not (here / "runs").exists()
    status, out, complaint = petbreeds("train", "--data", data, *SMALL, "--epochs", 1, "--out", "run")
    assert status == 0, complaint
    status, out, complaint = petbreeds("predict", "run", data / "images" / "pug_1.jpg", "--json")
    assert status == 0 and complaint == "" and "pug_1.jpg" in out
    status, _, complaint = petbreeds("report", "run")
    assert status == 0 and complaint == ""


# ---- pictures of one's own

def in_class_folders(pets, place):
    "The pictures in one folder for each class, below train/ and test/."
    for part in ("trainval", "test"):
        for line in (pets / "annotations" / f"{part}.txt").read_text().splitlines():
            name = line.split()[0]
            folder = place / ("test" if part == "test" else "train") / name.rpartition("_")[0]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(pets / "images" / f"{name}.jpg", folder)
    return place


def test_a_run_is_the_same_in_class_folders_and_by_a_table(petbreeds, pets, here, monkeypatch):
    "The head is fitted on random views, which must not depend on where a picture lies."
    from petbreeds.transfer.views import Pass
    monkeypatch.setattr("petbreeds.transfer.features.fastest_pass", lambda *network: Pass("fp32", 8))  # no trial
    options = ["--arch", "papernet", "--size", 64, "--bs", 8]
    folders = in_class_folders(pets, here / "folders")
    table = here / "table"
    shutil.copytree(pets / "images", table / "photos")
    lines = ["Bild;Rasse;Teil"]
    for file in sorted(folders.rglob("*.jpg"), reverse=True):
        lines.append(f"{file.name};{file.parent.name};{file.parent.parent.name}")
    (here / "mine.csv").write_bytes("\r\n".join(lines).encode("utf-16"))
    assert petbreeds("train", "--data", folders, *options, "--out", "a")[0] == 0
    status, _, complaint = petbreeds("train", "--data", table, "--labels", "mine.csv", *options, "--out",
                                     "b")
    assert status == 0 and "labels from mine.csv (Bild, Rasse, Teil); parts from mine.csv" in complaint
    own = Path(shutil.copytree(pets, here / "own"))
    (own / "paperpets.json").unlink()  # whose pictures are prepared in another size
    assert petbreeds("train", "--data", own, *options, "--out", "c")[0] == 0
    for run in ("a", "b"):
        for name in ("history.csv", "model.safetensors"):
            assert Path(run, name).read_bytes() == Path("c", name).read_bytes(), (run, name)
    about = json.loads(Path("b/run.json").read_text())
    assert Path(about["data"]["labels"]).expanduser() == here / "mine.csv"
    assert petbreeds("report", "b")[0] == 0


def test_an_interrupted_run_remembers_its_table(petbreeds, pets, here):
    data = here / "data"
    shutil.copytree(pets / "images", data / "photos")
    rows = [f"{file.name},{'c' + file.name[0].lower()}" for file in (data / "photos").iterdir()]
    (data / "mine.csv").write_text("\n".join(["file,label", *rows]))
    process = subprocess.Popen(command("train", "--data", data, "--labels", data / "mine.csv", *SMALL, "--epochs", 3,
                                       "--out", "run"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               start_new_session=True)
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    moved = data.rename(here / "moved")
    status, _, complaint = petbreeds("train", "--resume", "--out", "run", "--data", moved)
    assert status == 0, complaint
    about = json.loads(Path("run/run.json").read_text())
    assert about["data"]["labels"] == "mine.csv" and about["vocabulary"] == sorted({row[-2:] for row in rows})


def test_data_says_what_it_understood(petbreeds, here):
    for number, (label, count) in enumerate({"犬": 9, "Löwe": 2, "pug": 1}.items()):
        for i in range(count):
            (here / "pets" / label).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (20 * i, 90 * number, 0)).save(here / "pets" / label / f"IMG_{i}.png")
    (here / "pets" / "Löwe" / ".hidden.png").write_bytes(b"...")
    status, out, complaint = petbreeds("data", "pets")
    lines = out.splitlines()
    assert status == 0 and lines[0] == str(here / "pets")
    assert lines[1] == "12 pictures of 3 classes (8 train, 1 valid, 3 test), 1 unusable files"
    assert lines[2] == "one folder per class; no parts given" and "a fifth of each class" in lines[3]
    assert lines[4] == "classes: 犬 9, Löwe 2, pug 1" and lines[5].startswith("one picture only: pug")
    assert lines[6].startswith("uneven: 犬 has 9 pictures, pug 1") and "--balance" in lines[6]
    assert "Löwe/.hidden.png: hidden" in lines[7] and len(lines) == 8


def test_data_shows_both_readings(petbreeds, here):
    for name in ("pug/beagle_1.png", "beagle/beagle_2.png"):
        (here / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(here / "pets" / name)
    status, out, complaint = petbreeds("data", "pets")
    assert status == 1 and not out and "its folders say beagle, pug (2), its file names say beagle (1)" in complaint


def test_a_table_that_is_not_there(petbreeds, pets):
    status, out, complaint = petbreeds("data", pets, "--labels", "mine.csv")
    assert status == 1 and not out and complaint.startswith("petbreeds: no table 'mine.csv'")


# ---- where things are

def test_a_tilde_is_the_home_folder(petbreeds, pets, here, monkeypatch):
    monkeypatch.setenv("HOME", str(here / "me"))
    shutil.copytree(pets, here / "me" / "pets")
    status, out, complaint = petbreeds("train", "--data", "~/pets", *SMALL, "--epochs", 1, "--out", "~/run")
    assert status == 0 and (here / "me" / "run" / "report.html").exists() and not (here / "~").exists(), complaint
    assert petbreeds("report", "~/run")[0] == 0
    assert petbreeds("predict", "~/run", pets / "images" / "pug_1.jpg")[0] == 0
    status, _, complaint = petbreeds("train", "--resume", "--out", "~/run")
    assert status == 0 and "nothing to resume" in complaint
    status, _, complaint = petbreeds("train", "--data", pets, *SMALL, "--out", "~nobody_of_this_name/run")
    assert status == 1 and "give a path without ~" in complaint and not list(here.glob("~*"))


def test_a_user_without_a_name_and_without_a_home(pets, here):
    "As in a container that runs under any number: no HOME, and no line in the list of users."
    bare = {name: value for name, value in os.environ.items()
            if name not in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "PETBREEDS_HOME", "XDG_CACHE_HOME")}
    bare["TMPDIR"] = str(here)

    def nobody(*arguments):
        program = ("import pwd, sys\ndef unknown(number): raise KeyError(f'uid not found: {number}')\n"
                   "pwd.getpwuid = unknown\nfrom petbreeds.cli import main\nmain(sys.argv[1:])")
        return subprocess.run([sys.executable, "-c", program, *map(str, arguments)], env=bare, capture_output=True,
                              text=True, timeout=300)
    done = nobody("train", "--data", pets, *SMALL, "--epochs", 1, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("petbreeds: ") for line in done.stderr.splitlines()), done.stderr
    assert json.loads(Path("run/run.json").read_text())["data"]["folder"] == str(pets)
    assert nobody("report", "run").returncode == 0
    done = nobody("data", "paper", "--per-breed", 2)
    assert done.returncode == 0 and done.stdout.startswith(f"{here}/petbreeds-"), done.stderr
    done = nobody("data", "~/pets")
    assert done.returncode == 1 and "set HOME" in done.stderr and len(done.stderr.splitlines()) == 1


def test_two_trainings_at_once_get_a_folder_each(pets, here):
    call = command("train", "--data", pets, *SMALL, "--epochs", 1)
    both = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    runs = [Path("runs") / f"{pets.name}-lcnet_050-{number}" for number in (1, 2)]
    assert sorted(Path("runs").iterdir()) == runs and all((run / "report.html").exists() for run in runs)
    assert runs[0].joinpath("model.safetensors").read_bytes() == runs[1].joinpath("model.safetensors").read_bytes()


# ---- predict and report

def test_predict_names_five_breeds(petbreeds, pets, finished):
    pictures = [pets / "images" / name for name in ("pug_1.jpg", "Bengal_2.jpg")]
    status, out, complaint = petbreeds("predict", finished[1], *pictures)
    assert status == 0 and complaint == "" and len(out.splitlines()) == 12
    status, out, _ = petbreeds("predict", finished[1], *pictures, "--json")
    answers = json.loads(out)
    assert [answer["image"] for answer in answers] == list(map(str, pictures))
    for answer in answers:
        shares = [entry["probability"] for entry in answer["top"]]
        assert len(shares) == 5 and shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1


def test_predict_answers_for_good_pictures_and_complains_about_bad_ones(petbreeds, pets, finished):
    good, bad = pets / "images" / "pug_1.jpg", pets / "annotations" / "list.txt"
    status, out, complaint = petbreeds("predict", finished[1], bad, good, "gone.jpg", "--json")
    assert status == 1
    assert [sorted(answer) for answer in json.loads(out)] == [["error", "image"], ["image", "top"], ["error", "image"]]
    first, second = complaint.splitlines()
    assert str(bad) in first and "not an image" in first and "no such file" in second
    status, out, complaint = petbreeds("predict", finished[1], bad)
    assert status == 1 and out == "" and len(complaint.splitlines()) == 1


def test_predict_takes_a_folder_and_writes_a_table(petbreeds, pets, finished, here):
    folder = here / "holiday"
    (folder / "more").mkdir(parents=True)
    shutil.copy(pets / "images" / "pug_1.jpg", folder / "more")
    (folder / "=1+1.jpg").write_text("no picture")
    status, out, complaint = petbreeds("predict", finished[1], "holiday", "--csv", "answers.csv", "--top", 2)
    assert status == 1 and out == "answers: answers.csv (2 pictures, 1 without an answer)\n"
    assert complaint.startswith("petbreeds: holiday/=1+1.jpg: not an image") and len(complaint.splitlines()) == 1
    with open("answers.csv", encoding="utf-8-sig", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["image"] for row in rows] == ["holiday/=1+1.jpg", "holiday/more/pug_1.jpg"]
    assert rows[0]["problem"].startswith("not an image") and float(rows[1]["probability_1"]) > 0
    os.chdir(folder)
    assert petbreeds("predict", finished[1], ".", "--csv", here / "answers.csv", "--json")[0] == 1  # once more
    os.chdir(here)
    assert "./=1+1.jpg" in (here / "answers.csv").read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("file, words", [("notes.csv", "say --overwrite"), ("holiday", "is a folder"),
                                         ("no/such.csv", "no folder")])
def test_a_table_that_cannot_be_written_is_refused_before_the_work(petbreeds, pets, finished, here, file, words):
    (here / "holiday").mkdir()
    (here / "notes.csv").write_text("my notes")
    picture = pets / "images" / "pug_1.jpg"
    status, out, complaint = petbreeds("predict", finished[1], picture, "--csv", file)
    assert status == 1 and words in complaint and len(complaint.splitlines()) == 1 and out == ""
    assert (here / "notes.csv").read_text() == "my notes"
    if file == "notes.csv":
        assert petbreeds("predict", finished[1], picture, "--csv", file, "--overwrite")[0] == 0
        assert "pug_1.jpg" in (here / file).read_text(encoding="utf-8-sig")


def test_json_is_valid_whatever_the_network_and_the_terminal_can_say(petbreeds, pets, finished, here):
    picture = Path(shutil.copy(pets / "images" / "pug_1.jpg", here / "schäfer\u2028hund.jpg"))
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = shell("predict", finished[1], picture, "--json", env=ascii_only)
    assert done.returncode == 0 and json.loads(done.stdout)[0]["image"] == str(picture)
    run = Path(shutil.copytree(finished[1], here / "run"))
    weights = load_file(run / "model.safetensors")
    nothing = {name: value * float("nan") if value.is_floating_point() else value for name, value in weights.items()}
    save_file(nothing, run / "model.safetensors", {"format": "petbreeds-run"})

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")
    status, out, complaint = petbreeds("predict", run, picture, "--json")
    (answer,) = json.loads(out, parse_constant=refuse)
    assert status == 1 and "no number" in answer["error"] and "no number" in complaint


def test_a_path_that_the_shell_did_not_expand(petbreeds, pets, finished, here, monkeypatch):
    monkeypatch.setenv("HOME", str(here / "me"))
    (here / "me").mkdir()
    shutil.copytree(finished[1], here / "me" / "run")
    shutil.copy(pets / "images" / "pug_1.jpg", here / "me" / "pug.jpg")
    assert petbreeds("predict", "~/run", "~/pug.jpg", "--csv=~/answers.csv")[0] == 0
    assert (here / "me" / "answers.csv").exists()
    assert petbreeds("report", "~/run")[0] == 0
    assert "nothing to resume" in petbreeds("train", "--resume", "--out=~/run")[2]
    assert "already holds a run" in petbreeds("train", "--data", pets, *SMALL, "--out=~/run")[2]
    assert not (here / "~").exists()
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    status, _, complaint = petbreeds("predict", "~/run", "a.jpg")
    assert status == 1 and "give a path without ~" in complaint


def test_predict_does_not_wait_for_a_pipe_and_answers_in_order(petbreeds, pets, finished, here):
    os.mkfifo(here / "pipe.jpg")
    pictures = sorted((pets / "images").iterdir())[:12]  # more than one mini-batch
    status, out, complaint = petbreeds("predict", finished[1], *pictures[:9], here / "pipe.jpg", *pictures[9:],
                                       "--json")
    assert status == 1 and "no ordinary one" in complaint
    assert [answer["image"] for answer in json.loads(out) if "top" in answer] == list(map(str, pictures))


def test_report_without_and_with_the_data(petbreeds, pets, finished, here):
    run = Path(shutil.copytree(finished[1], here / "run"))
    data = Path(shutil.copytree(pets, here / "moved"))
    about = json.loads((run / "run.json").read_text())
    about["data"]["folder"] = str(here / "gone")
    (run / "run.json").write_text(json.dumps(about))
    status, out, complaint = petbreeds("report", run)
    assert status == 0 and str(run / "report.html") in out and "name their folder with --data" in complaint
    assert "put the data back" in (run / "report.html").read_text()
    assert petbreeds("report", run, "--data", data)[0] == 0
    assert (run / "report.html").read_bytes() == (finished[1] / "report.html").read_bytes()


def test_a_run_goes_on_where_its_pictures_are_now(petbreeds, pets, finished, here):
    first, now = Path(shutil.copytree(pets, here / "first")), here / "now"
    process = subprocess.Popen(command("train", "--data", first, *SMALL, "--epochs", 3, "--out", "run"),
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    first.rename(now)
    status, _, complaint = petbreeds("train", "--resume", "--out", "run")
    assert status == 1 and "no folder" in complaint
    assert petbreeds("train", "--resume", "--out", "run", "--data", now)[0] == 0
    assert Path("run", "model.safetensors").read_bytes() == (finished[1] / "model.safetensors").read_bytes()
    Path("run", "report.html").unlink()  # as if killed just before it was written
    assert petbreeds("train", "--resume", "--out", "run")[0] == 0 and Path("run", "report.html").exists()


def test_a_damaged_run_is_one_line(petbreeds, pets, finished, here):
    run = Path(shutil.copytree(finished[1], here / "run"))
    (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-10])
    status, out, complaint = petbreeds("predict", run, pets / "images" / "pug_1.jpg")
    assert status == 1 and "is damaged" in complaint and len(complaint.splitlines()) == 1 and not out
    (run / "run.json").write_text('{"format": "petbreeds-run", "format_version": 3}')
    for arguments in (["predict", run, "a.jpg"], ["report", run], ["train", "--resume", "--out", run]):
        status, out, complaint = petbreeds(*arguments)
        assert status == 1 and "is damaged" in complaint and len(complaint.splitlines()) == 1


# ---- the command itself

def test_help_and_version_load_nothing_heavy(here):
    code = ("import sys; from petbreeds import cli\ntry: cli.main([%r])\nexcept SystemExit: pass\n"
            "heavy = {'torch', 'fastai', 'pandas', 'numpy', 'PIL', 'timm', 'matplotlib'} & set(sys.modules)\nassert "
            "not heavy, heavy")
    for option in ("--help", "--version"):
        done = subprocess.run([sys.executable, "-c", code % option], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "train" in done.stdout or done.stdout.strip() == __import__("petbreeds").__version__


def test_help_names_the_defaults(petbreeds, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = petbreeds("train", "--help")
    assert status == 0 and "default: 42" in out and "default: a new one" in out


def test_doctor_never_falls_ill(petbreeds, here, monkeypatch):
    status, out, _ = petbreeds("doctor")
    assert status == 0 and [line.split()[0] for line in out.splitlines()] == [
        "petbreeds", "python", "torch", "libraries", "processor", "memory", "disk", "data", "papernet", "imagenet",
        "downloads"]
    (here / "file").write_text("")
    monkeypatch.setenv("PETBREEDS_HOME", str(here / "file" / "home"))
    monkeypatch.setitem(doctor.QUESTIONS, "memory", lambda: 1 / 0)
    status, out, _ = petbreeds("doctor")
    assert status == 0 and "memory     unknown (ZeroDivisionError" in out and len(out.splitlines()) == 11


def test_data_draws_and_audits(petbreeds, here):
    status, out, _ = petbreeds("data", "paper", "--per-breed", 2)
    assert status == 0 and out.splitlines()[1].startswith("74 pictures of 37 classes (37 train, 0 valid, 37 test), 0 "
                                                          "unusable files")
    assert (Path(out.splitlines()[0]) / "annotations" / "list.txt").exists()
    assert out.splitlines()[3].startswith("classes: 2 of each: Abyssinian, Bengal, ")


def test_a_reader_that_has_had_enough(pets):
    process = subprocess.Popen(command("data", pets), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    complaint = process.stderr.read()
    assert process.wait(timeout=60) in (0, 1) and complaint == b""


def test_an_internal_error_is_one_line_unless_the_traceback_is_wanted(petbreeds, monkeypatch):
    def broken():
        raise RuntimeError("first line\nsecond line")
    monkeypatch.setattr("petbreeds.layout.pets_table", lambda path, labels: broken())
    monkeypatch.setattr("petbreeds.layout.get_pets", lambda *args, **kwargs: Path("."))
    status, _, complaint = petbreeds("data")
    assert status == 1 and "internal error" in complaint and "RuntimeError: first line second line" in complaint
    assert len(complaint.splitlines()) == 1
    monkeypatch.setenv(terminal.DEBUG, "1")
    with pytest.raises(RuntimeError):
        cli.main(["data"])


@pytest.mark.parametrize("error, words", [
    (MemoryError(), "smaller --bs"), (RuntimeError("CUDA out of memory. Tried"), "smaller --bs"),
    (PermissionError(13, "Permission denied", "/x"), "Permission denied: /x"),
    (OSError(28, "No space left"), "free space"),
    (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "--shm-size"),
    (RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nunable to write to file </torch_7_8_9>"),
     "--shm-size")])
def test_errors_of_the_machine_say_what_to_do(petbreeds, monkeypatch, error, words):
    def fail(*args, **kwargs):
        raise error
    monkeypatch.setattr("petbreeds.layout.get_pets", fail)
    status, _, complaint = petbreeds("data")
    assert status == 1 and words in complaint and "internal" not in complaint and len(complaint.splitlines()) == 1


def test_a_loader_left_half_made_says_nothing(here):
    "As Ctrl-C leaves torch's: its destructor looks for workers that were never made."
    program = ("from petbreeds.cli.terminal import run_command\n"
               "class Half:\n"
               "    def __del__(self): self.workers\n"
               "def app(arguments, **options):\n"
               "    Half()\n"
               "    raise KeyboardInterrupt\n"
               "run_command(app, [])\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "petbreeds: stopped\n")
