"The command line as its users meet it: the main job, interruption, and bad input, in processes of their own."
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from PIL import Image

from petbreeds.paperpets import make_paperpets

SMALL = ["--size", "64", "--bs", "16", "--weights", "none", "--epochs", "2"]


def petbreeds(*arguments, **environment):
    "Run the command; one thread, as little variation as can be."
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", **environment}
    command = [sys.executable, "-m", "petbreeds.cli", *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)


def refused(*arguments, says, **environment):
    "The command fails with one clear line."
    done = petbreeds(*arguments, **environment)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("petbreeds:") and re.search(says, last), done.stderr


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return make_paperpets(tmp_path_factory.mktemp("data") / "paperpets", per_breed=4, scale=0.3)


@pytest.fixture(scope="module")
def run(pets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = petbreeds("train", "--data", pets, *SMALL, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "error rate" in done.stdout and str(folder / "report.html") in done.stdout
    return folder


def history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_four_files_without_pickle(run):
    assert sorted(file.name for file in run.iterdir()) == ["history.csv", "model.safetensors", "report.html", "run.json"]
    about = json.loads((run / "run.json").read_text())
    assert 0 <= about["metrics"]["error_rate"] <= 1 and about["metrics"]["n_valid"] == 74
    assert len(history(run)) == 2


def test_report_asks_for_nothing(run):
    page = (run / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page) and "@import" not in page
    assert "data:image/" in page and "<svg" in page


def test_same_seed_same_numbers(run, pets, tmp_path):
    again = petbreeds("train", "--data", pets, *SMALL, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert history(tmp_path / "again") == history(run)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_killed_and_resumed_equals_uninterrupted(run, pets, tmp_path):
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "petbreeds.cli", "train", "--data", str(pets), *SMALL, "--out", str(folder)]
    training = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    for line in training.stdout:
        if line.startswith("epoch 1/"):
            break
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    assert not (folder / "report.html").exists()
    resumed = petbreeds("train", "--resume", "--out", folder)
    assert resumed.returncode == 0, resumed.stderr
    assert history(folder) == history(run)


def test_interrupted_training_says_how_to_go_on(pets, tmp_path):
    folder = tmp_path / "stopped"
    command = [sys.executable, "-m", "petbreeds.cli", "train", "--data", str(pets), *SMALL, "--out", str(folder)]
    training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    for line in training.stdout:
        if line.startswith("epoch 1/"):
            break
    training.send_signal(signal.SIGINT)
    said = training.communicate(timeout=120)[1]
    assert training.returncode == 130 and "--resume" in said and "Traceback" not in said, said


def test_predict(run, pets, tmp_path):
    pictures = sorted((pets / "images").glob("beagle_*.jpg"))[:2]
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    done = petbreeds("predict", run, *pictures, text, "--json")
    assert done.returncode == 1 and "notes.txt" in done.stderr and "Traceback" not in done.stderr
    answers = json.loads(done.stdout)
    assert [len(answer.get("top", [])) for answer in answers] == [5, 5, 0] and "error" in answers[2]
    shares = [entry["probability"] for entry in answers[0]["top"]]
    assert shares == sorted(shares, reverse=True) and sum(shares) <= 1.0001
    plain = petbreeds("predict", run, pictures[0])
    assert plain.returncode == 0 and answers[0]["top"][0]["breed"] in plain.stdout


def test_report_can_be_written_again(run):
    before = (run / "report.html").read_text()
    (run / "report.html").unlink()
    assert petbreeds("report", run).returncode == 0
    assert (run / "report.html").read_text() == before


def test_doctor_and_version():
    done = petbreeds("doctor")
    assert done.returncode == 0 and {"python", "torch", "memory", "disk", "data"} <= set(re.findall(r"^\w+", done.stdout, re.M))
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", petbreeds("--version").stdout)


def folder_of(path, names, pets):
    "A data folder without annotations that holds a drawn picture under each name."
    (path / "images").mkdir(parents=True)
    source = next((pets / "images").glob("*.jpg"))
    for i, name in enumerate(names):
        Image.open(source).rotate(i).save(path / "images" / name, "JPEG")
    return path


def test_bad_data(pets, tmp_path):
    refused("train", "--data", tmp_path / "nowhere", says="nowhere")
    (tmp_path / "empty").mkdir()
    refused("train", "--data", tmp_path / "empty", says="images")
    refused("train", "--data", folder_of(tmp_path / "unlabelled", ["photo.jpg"], pets), says="label")
    one_class = folder_of(tmp_path / "one", [f"pug_{n}.jpg" for n in range(4)], pets)
    refused("train", "--data", one_class, "--split", "random", "--weights", "none", says="one breed")
    alone = folder_of(tmp_path / "alone", ["pug_1.jpg", "pug_2.jpg", "beagle_1.jpg"], pets)
    refused("train", "--data", alone, "--split", "random", "--weights", "none", says="beagle")
    refused("train", "--data", pets / "annotations" / "list.txt", says="file")


def test_bad_options(pets, tmp_path):
    refused("train", "--data", pets, "--lr", "-1", says="--lr")
    refused("train", "--data", pets, "--epochs", "0", says="--epochs")
    refused("train", "--data", pets, "--bs", "0", says="--bs")
    refused("train", "--data", pets, "--arch", "resnet3", says="resnet34")
    refused("train", "--data", pets, "--weights", "imagenet", says="weights", HF_HUB_OFFLINE="1")
    refused("train", "--resume", says="--out")
    refused("nonsense", says="nonsense")


def test_nothing_is_overwritten(run, pets, tmp_path):
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    refused("train", "--data", pets, *SMALL, "--out", run, says="run|there|exists")
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    refused("train", "--data", pets, *SMALL, "--out", mine, says="mine")
    refused("train", "--data", pets, *SMALL, "--out", mine, "--overwrite", says="mine")
    assert (mine / "thesis.txt").read_text() == "years of work"
    refused("train", "--data", pets, *SMALL, "--out", mine / "thesis.txt" / "run", says="thesis.txt")


@pytest.mark.parametrize("damage", ["no model", "short model", "no json", "bad json", "other format", "other vocabulary"])
def test_damaged_runs(run, pets, tmp_path, damage):
    broken = tmp_path / "broken"
    shutil.copytree(run, broken)
    about = json.loads((broken / "run.json").read_text())
    match damage:
        case "no model": (broken / "model.safetensors").unlink()
        case "short model": (broken / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:1000])
        case "no json": (broken / "run.json").unlink()
        case "bad json": (broken / "run.json").write_text("{")
        case "other format": (broken / "run.json").write_text(json.dumps({**about, "version": 99, "format_version": 99, "format": "x"}))
        case "other vocabulary": (broken / "run.json").write_text(json.dumps({**about, "vocabulary": ["cat", "dog"]}))
    refused("predict", broken, next((pets / "images").glob("*.jpg")), says="broken|run")


def test_bad_pictures_beside_good_ones(pets, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(pets, mixed)
    (mixed / "images" / "pug_99.jpg").write_bytes(b"")
    (mixed / "images" / "beagle_99.jpg").write_bytes(b"not a picture at all")
    done = petbreeds("train", "--data", mixed, "--size", "64", "--weights", "none", "--epochs", "1", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "pug_99.jpg" in done.stderr and "beagle_99.jpg" in done.stderr
    assert (mixed / "images" / "pug_99.jpg").exists()
