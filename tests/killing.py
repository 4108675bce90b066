"""Kills commands at any moment, or lets their disk fill, starts them again, and asks: is what was finished still there,
and is nothing believed that was half written? `test_kills.py` tries each command once, `bench/kills.py` many times.

A command runs in a fork of this process, with all imports done, so that moments fall into its work."""
import contextlib
import hashlib
import http.server
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import petbreeds.shipping.prediction  # the imports of all commands
import petbreeds.shipping.training
from petbreeds import cli
from petbreeds.cli.terminal import explain
from petbreeds.layout import get_pets
from petbreeds.layout.archive import Archive
from petbreeds.paperpets import make_paperpets

SMALL = ["--arch", "lcnet_050", "--from-scratch", "--size", "64", "--bs", "4"]
EPOCHS = 3
BREEDS = ("pug", "boxer", "Bengal", "Birman")


def listing(folder, but=()):
    "Digests of all files below a folder by their names, temporary ones too."
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name not in but}


@dataclass
class Process:
    "A command that runs in a fork."
    pid: int
    pipe: int  # what it says comes out here; unlike a file, a pipe is not limited
    heard: bytes = b""

    def wait(self, seconds=300):
        "Its exit status; None if it does not end."
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        self.kill()
        return None

    def kill(self):
        "As kill -9 does, its workers too; its status, once all are gone."
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        end = time.monotonic() + 20  # on a busy machine a killed process needs a while to die
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < end:
                os.killpg(self.pid, 0)
                time.sleep(0.005)
        return status

    @property
    def said(self):
        "All that it has said so far."
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.pipe, 2**16):
                self.heard += piece
        return self.heard.decode(errors="replace")


def start(work, folder, most=None):
    "Run `work()` in a fork that is a group of its own; no file of it may grow beyond `most` bytes."
    out, into = os.pipe()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        os.close(into)
        os.set_blocking(out, False)
        return Process(pid, out)
    status = 70
    try:
        os.setpgid(0, 0)
        os.dup2(into, 1)
        os.dup2(into, 2)
        os.chdir(folder)
        if most is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        os.environ.update(PETBREEDS_HOME=str(Path(folder) / "home"), NO_PROXY="127.0.0.1")
        with open(1, "w", buffering=1, closefd=False) as out, contextlib.redirect_stdout(out):
            with open(2, "w", buffering=1, closefd=False) as err, contextlib.redirect_stderr(err):
                status = work()
    except BaseException:
        import traceback
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def command(*arguments):
    "A command of petbreeds, as `start` takes it."
    def work():
        try:
            cli.main(list(map(str, arguments)))
        except SystemExit as end:
            return end.code or 0
    return work


# What is tried: each has a folder prepared, a command, and what must be there in the end

@dataclass
class Trial:
    name: str
    work: object  # function of the folder: what `start` runs
    again: object  # function of the folder: what a user runs after the accident
    result: object  # function of the folder: what must be as if nothing had happened
    prepare: object = lambda folder: None
    check: object = lambda folder, said: ""  # right after the accident: what is wrong, or ''
    seconds: float = field(default=0.0, init=False)  # that it takes undisturbed
    expected: object = field(default=None, init=False)
    size: int = field(default=0, init=False)  # bytes in the files that it leaves

    def measure(self, parent):
        "Run it undisturbed, once."
        folder = Path(parent) / f"{self.name}-whole"
        folder.mkdir()
        self.prepare(folder)
        before, begun = times(folder), time.monotonic()
        process = start(self.work(folder), folder)
        status = process.wait()
        assert status == 0, process.said
        self.seconds = time.monotonic() - begun
        self.expected = self.result(folder)
        written = [path for path, changed in times(folder).items() if before.get(path) != changed]
        self.size = sum(path.stat().st_size for path in written)


def times(folder):
    "When each file below a folder was changed."
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


def aftermath(trial, folder, said):
    "Start again after an accident: what is wrong, or ''."
    if wrong := trial.check(folder, said):
        return wrong
    process = start(trial.again(folder), folder)
    status = process.wait()
    if status != 0:
        return f"started again it ended with {status}: {process.said[-300:]}"
    now = trial.result(folder)
    if now == trial.expected:
        return ""
    names = [name for name in {*now, *trial.expected} if now.get(name) != trial.expected.get(name)]
    return f"another result: {sorted(names)[:4]}"


def killed(trial, folder, moment):
    "Kill it `moment` seconds after its start and start it again: (when, what is wrong or '')."
    folder.mkdir()
    trial.prepare(folder)
    process = start(trial.work(folder), folder)
    time.sleep(moment)
    status = process.kill()
    said = process.said
    return "killed" if status == -signal.SIGKILL else "over already", aftermath(trial, folder, said)


def one_line(said):
    "What is wrong with what a command said about a full disk, or ''."
    lines = [line for line in said.splitlines() if line.startswith("petbreeds: ")]
    if "Traceback" in said or "internal error" in said:
        return f"no word of the user's: {said[-300:]}"
    return "" if lines else f"not a word: {said[-200:]}"


def filled(trial, folder, most):
    "Run it where no file can grow beyond `most` bytes, then without that limit."
    folder.mkdir()
    trial.prepare(folder)
    process = start(trial.work(folder), folder, most)
    return after_full_disk(trial, folder, process)


def after_full_disk(trial, folder, process, more_room=lambda: None):
    "What a full disk did: (outcome, what is wrong or '')."
    status = process.wait()
    said = process.said
    if status is None:
        return "hang", "it does not end"
    more_room()
    if status == 0:
        return "fits", aftermath(trial, folder, said)
    return "refused", one_line(said) or aftermath(trial, folder, said)


# The trials

def epochs_in(said):
    "The numbers of the epochs that were said to be done."
    return set(re.findall(r"^epoch (\d+)/", said, re.M))


def archive_of(pets, folder):
    "The pictures as an archive: the file."
    file = Path(folder) / "pets.tgz"
    with tarfile.open(file, "w:gz") as tar:
        tar.add(pets / "images", "oxford-iiit-pet/images")
        tar.add(pets / "annotations", "oxford-iiit-pet/annotations")
    return file


class Slow(http.server.BaseHTTPRequestHandler):
    "Gives a file, from where it is asked for, in pieces."
    file = None
    rest = 0.01  # seconds between pieces

    def log_message(self, *args):
        pass

    def do_GET(self):
        data = self.file.read_bytes()
        begin = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-"))
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        with contextlib.suppress(OSError):
            for at in range(begin, len(data), 2**12):
                self.wfile.write(data[at:at + 2**12])
                time.sleep(self.rest)


@contextlib.contextmanager
def server(file):
    "A server of one file, in a process of its own: its address."
    Slow.file = file
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    pid = os.fork()
    if pid == 0:
        listening.serve_forever()
    address = f"http://127.0.0.1:{listening.server_port}/pets.tgz"
    listening.server_close()
    try:
        yield address
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def download(file, address):
    data = file.read_bytes()
    mirrors = ((Archive(address, len(data), hashlib.md5(data).hexdigest()),),)

    def work():
        try:
            get_pets("oxford", mirrors=mirrors)
        except Exception as error:
            print("petbreeds:", explain(error)[0], file=sys.stderr)
            return 1
        return 0
    return work


class Trials:
    "What all trials need, made once in `parent`: pictures, and runs interrupted and finished."
    def __init__(self, parent):
        self.parent = Path(parent)
        self.pets = make_paperpets(self.parent / "pets", per_breed=4, scale=0.3)
        for file in (self.pets / "images").iterdir():
            if not file.name.startswith(BREEDS):
                file.unlink()
        self.half = self.parent / "half"
        self.done = self.parent / "done"

    def training(self, folder, *more):
        return command("train", "--data", self.pets, *SMALL, "--epochs", EPOCHS, "--out", folder / "run", *more)

    def resuming(self, folder):
        if (folder / "run" / "run.json").exists():
            return command("train", "--resume", "--out", folder / "run")
        return self.training(folder)

    def run_files(self, folder):
        "Weights and history; and what a killed writer left, but for the report, which is written last."
        return {name: value for name, value in listing(folder / "run").items()
                if name in ("model.safetensors", "history.csv") or re.fullmatch(r"\.(?!report).*\.part", name)}

    def nothing_lost(self, folder, said):
        "Epochs that were said to be done are in the checkpoint, or the run is finished."
        if not epochs_in(said) or (folder / "run" / "model.safetensors").exists():
            return ""
        return "" if (folder / "run" / "checkpoint.safetensors").exists() else "an epoch that was done is lost"

    def interrupted(self):
        "A run that was killed after its first epoch."
        if not self.half.exists():
            self.half.mkdir()
            process = start(self.training(self.half), self.half)
            end = time.monotonic() + 300
            while not epochs_in(process.said):
                assert time.monotonic() < end, process.said
                time.sleep(0.005)
            process.kill()
        return self.half

    def finished(self):
        if not self.done.exists():
            self.done.mkdir()
            process = start(self.training(self.done), self.done)
            assert process.wait() == 0, process.said
        return self.done

    def copy_of(self, which):
        return lambda folder: shutil.copytree(which() / "run", folder / "run")

    def all(self):
        "Draw, train, resume, report, predict."
        draw = command("data", "paper", "--per-breed", 2)
        yield Trial("draw", lambda folder: draw, lambda folder: draw,
                    lambda folder: listing(folder / "home", ("passes.json",)))
        yield Trial("train", self.training, self.resuming, self.run_files, check=self.nothing_lost)
        yield Trial("resume", self.resuming, self.resuming, self.run_files, self.copy_of(self.interrupted),
                    self.nothing_lost)
        yield self.writer("report", "run/report.html", lambda folder: command("report", folder / "run"))
        yield self.writer("predict", "answers.csv", lambda folder: command(
            "predict", folder / "run", self.pets / "images", "--csv", folder / "answers.csv"))

    def writer(self, name, file, work):
        "A command that writes one file into a folder with a finished run."
        def prepare(folder):
            self.copy_of(self.finished)(folder)
            (folder / "run" / "report.html").unlink()

        def result(folder):
            return {file: listing(folder)[file]}
        trial = Trial(name, work, work, result, prepare)

        def check(folder, said):
            now = listing(folder).get(file)
            return "" if now in (None, trial.expected[file]) else f"{file} is half written"
        trial.check = lambda folder, said: check(folder, said) if trial.expected else ""
        return trial

    @contextlib.contextmanager
    def downloading(self):
        "The download, from a server on this machine."
        file = archive_of(self.pets, self.parent)
        with server(file) as address:
            work = download(file, address)
            yield Trial("download", lambda folder: work, lambda folder: work, lambda folder: listing(folder / "home"))


def small_disk(folder, size):
    "Put a memory disk of so many bytes at `folder`: True if the system lets us."
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    return mounted.returncode == 0
