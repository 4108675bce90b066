"What must hold for the repository as a whole: export, stored outputs, workflows, versions, the chapter runner."
import ast
import importlib
import inspect
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from configparser import ConfigParser
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "nbs").rglob("[!.]*.ipynb"))
BIN = Path(sys.executable).parent
SKIPPED = {"nbval-skip", "skip-execution"}
GENERATED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "kernel-ipc-*", "api", "rooms")
FLAGS = re.compile(r"^#\|\s*(cuda|oxford|slow)\b", re.M)

pytestmark = pytest.mark.skipif(not (BIN / "nbdev_export").exists(), reason="needs the development environment")
sys.path.append(str(ROOT))
import course


def settings():
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def code_cells(path):
    return [c for c in nbformat.read(path, 4).cells if c.cell_type == "code"]


def name(path):
    return str(path.relative_to(ROOT))


def test_chapters_find_files_of_the_project_wherever_they_run():
    "By `project_file`; a path such as '../bench/...' is another place in another working folder."
    files = re.compile(r"""(project_file\(f?)?["'](?:\.\./)*(?:bench|docs|nbs|tests)/""")
    found = [(name(path), bool(call)) for path in NOTEBOOKS for cell in code_cells(path)
             for call in files.findall(cell.source)]
    assert len(found) > 9 and [where for where, safe in found if not safe] == []



@pytest.fixture(scope="session")
def fresh_copy(tmp_path_factory):
    "The repository's tracked and new files, elsewhere, with the package exported anew and the notebooks cleaned."
    copy = tmp_path_factory.mktemp("fresh") / "petbreeds"
    copy.mkdir()
    for part in ("nbs", "petbreeds"):
        shutil.copytree(ROOT / part, copy / part, ignore=GENERATED)
    for part in ("settings.ini", "setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / part, copy)
    for command in ("nbdev_export", "nbdev_clean"):
        subprocess.run([BIN / command], cwd=copy, check=True, capture_output=True)
    return copy


def differing(a, b, pattern):
    "Files under `a` or `b` that are missing or different on the other side."
    names = {p.relative_to(x) for x in (a, b) for p in x.rglob(pattern) if ".ipynb_checkpoints" not in p.parts}
    return [str(n) for n in sorted(names)
            if not (a / n).exists() or not (b / n).exists() or (a / n).read_bytes() != (b / n).read_bytes()]


def test_package_is_what_the_notebooks_export(fresh_copy):
    assert differing(ROOT / "petbreeds", fresh_copy / "petbreeds", "*.py") == []


def test_notebooks_are_clean(fresh_copy):
    assert differing(ROOT / "nbs", fresh_copy / "nbs", "*.ipynb") == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_stored_outputs(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_500_000, f"{len(text) / 1e6:.1f} MB with its outputs"
    cells = code_cells(path)
    outputs = [o for c in cells for o in c.outputs]
    assert outputs, "no stored output"
    assert not [o for o in outputs if o.output_type == "error"]
    assert not [o for o in outputs if o.output_type == "stream" and o.name == "stderr"]
    shown = json.dumps([o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in outputs])
    assert not re.search(r"(?<![\w.])/(root|home|Users|tmp|work|var)/", shown), "an absolute path is stored"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_flagged_cells_are_skipped_everywhere(path):
    for cell in code_cells(path):
        if FLAGS.search(cell.source):
            assert SKIPPED <= set(cell.metadata.get("tags", [])), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_imports_stand_apart(path):
    for cell in code_cells(path):
        if re.search(r"^#\|\s*export", cell.source, re.M):
            continue
        python = re.sub(r"^[%!].*$", "", cell.source, flags=re.M)
        kinds = {isinstance(s, (ast.Import, ast.ImportFrom)) for s in ast.parse(python).body}
        assert len(kinds) < 2, cell.source


def modules():
    "The names of all modules of the package below petbreeds, those in packages too."
    files = [p.relative_to(ROOT / "petbreeds").with_suffix("") for p in sorted((ROOT / "petbreeds").rglob("*.py"))]
    names = {".".join(file.parts).removesuffix("__init__").removesuffix(".") for file in files}
    return sorted(names - {"", "_modidx", "all"})


@pytest.mark.parametrize("module_name", modules())
def test_what_is_exported_is_documented(module_name):
    """A docstring for every function and class; for every function a comment beside each parameter. Options of the
    command have their help instead, and the rooms that draw share a few words (animal, frame, x, y), explained once."""
    from fastcore.docments import docments
    module, missing = importlib.import_module(f"petbreeds.{module_name}"), []
    for exported in getattr(module, "__all__", []):
        thing = getattr(module, exported)
        if not (inspect.isfunction(thing) or inspect.isclass(thing)) or thing.__module__ != module.__name__:
            continue
        if not thing.__doc__ or thing.__doc__.startswith(f"{exported}("):  # what a dataclass writes itself
            missing.append(exported)
        if inspect.isfunction(thing) and not module_name.startswith(("cli", "paperpets.")):
            missing += [f"{exported}({parameter})" for parameter, about in docments(thing, full=True).items()
                        if parameter != "return" and not about["docment"]
                        and not inspect.signature(thing).parameters[parameter].kind == inspect.Parameter.VAR_KEYWORD]
    assert missing == []


def test_star_import_brings_the_faces_and_no_rooms():
    "`petbreeds.all` imports what readers use; what they need out of a room comes through its face."
    index = "\n".join(c.source for c in code_cells(ROOT / "nbs" / "index.ipynb"))
    imported = set(re.findall(r"^from petbreeds\.([\w.]+) import \*", index, re.M))
    chapters = {course.module_of(name).removesuffix(".__init__") for name in course.HOUSE if course.is_chapter(name)}
    assert imported == chapters - {"cli"}


def test_version_is_stated_once():
    import petbreeds
    assert petbreeds.__version__ == settings()["version"]


def test_lock_satisfies_settings():
    locked = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        requirement = Requirement(line.split("#")[0].strip())
        locked.setdefault(requirement.name.lower(), []).append(next(iter(requirement.specifier)).version)
    wanted = " ".join(settings()[k] for k in settings() if k.endswith("requirements")).split()
    for requirement in map(Requirement, wanted):
        assert requirement.name.lower() in locked, requirement
        assert all(requirement.specifier.contains(v) for v in locked[requirement.name.lower()]), requirement


def test_workflows_are_valid():
    workflows = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {w.stem for w in workflows} == {"test", "gpu", "docs", "latest"}
    subprocess.run([BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows], check=True)


@pytest.fixture
def small_course(tmp_path, monkeypatch):
    """The chapter runner over two chapters of one cell each, and a room and a first page that must not be run; training
    replaced by a command that writes its files."""
    nbs = tmp_path / "nbs"
    (nbs / "first").mkdir(parents=True)
    for stem, code in (("first/room", "1 / 0"), ("01_first", "1 + 1"), ("02_second", "2 + 2"), ("index", "1 / 0")):
        write_notebook(nbs / f"{stem}.ipynb", code)
    monkeypatch.setattr(course, "HOUSE", ["first/room", "01_first", "02_second", "index"])
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "petbreeds" / "weights").mkdir(parents=True)
    (tmp_path / "petbreeds" / "weights" / "papernet.safetensors").write_bytes(b"")
    for key, value in dict(ROOT=tmp_path, NBS=nbs, OUT=tmp_path / "_course", RUN=tmp_path / "_course" / "run").items():
        monkeypatch.setattr(course, key, value)
    train = ("import json, pathlib; p = pathlib.Path({!r}); p.mkdir(parents=True, exist_ok=True); "
             "(p / 'report.html').write_text(''); "
             "(p / 'run.json').write_text(json.dumps(dict(metrics=dict(error_rate=.5, n=10))))")
    monkeypatch.setattr(course, "train_command", lambda: [sys.executable, "-c", train.format(str(course.RUN))])
    return course


def write_notebook(path, code, prose=""):
    cells = [nbformat.v4.new_markdown_cell(prose), nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_course_redoes_only_what_changed(small_course, capsys):
    assert small_course.run_all() == 0
    assert "unchanged" not in capsys.readouterr().out
    assert small_course.run_all() == 0
    assert capsys.readouterr().out.count("unchanged") == 3
    write_notebook(small_course.NBS / "02_second.ipynb", "3 + 3")
    assert small_course.run_all() == 0
    printed = capsys.readouterr().out
    assert printed.count("unchanged") == 1 and "error rate 0.500 on 10 test pictures" in printed
    executed = nbformat.read(small_course.OUT / "02_second.ipynb", 4)
    assert executed.cells[1].outputs[0].data["text/plain"] == "6"


def test_course_stops_at_once_with_its_chapters(small_course, tmp_path):
    write_notebook(small_course.NBS / "01_first.ipynb", f"import os, time\n"
                   f"open({str(tmp_path / 'kernel')!r}, 'w').write(str(os.getpid()))\ntime.sleep(120)")
    places = {name: getattr(small_course, name) for name in ("ROOT", "NBS", "OUT", "RUN")}
    code = ["import sys, course", "from pathlib import Path", f"course.HOUSE = {small_course.HOUSE}",
            *(f"course.{name} = Path({str(path)!r})" for name, path in places.items()), "sys.exit(course.run_all())"]
    process = subprocess.Popen([sys.executable, "-c", "\n".join(code)], cwd=ROOT, stdout=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / "kernel").exists() and (tmp_path / "kernel").read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    kernel = int((tmp_path / "kernel").read_text())
    wait_until(lambda: not Path(f"/proc/{kernel}").exists() or sys.platform != "linux")


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_course_redoes_a_chapter_whose_prose_or_measurements_changed(small_course, capsys):
    results = small_course.ROOT / "bench" / "results"
    results.mkdir(parents=True)
    (results / "speed.json").write_text("1")
    write_notebook(small_course.NBS / "02_second.ipynb", "open('../bench/results/speed.json').read()")
    assert small_course.run_all() == 0
    capsys.readouterr()
    write_notebook(small_course.NBS / "01_first.ipynb", "1 + 1", "Said better.")
    assert small_course.run_all() == 0
    assert capsys.readouterr().out.count("unchanged") == 2
    assert nbformat.read(small_course.OUT / "01_first.ipynb", 4).cells[0].source == "Said better."
    (results / "speed.json").write_text("2")
    assert small_course.run_all() == 0
    assert capsys.readouterr().out.count("unchanged") == 1
    assert nbformat.read(small_course.OUT / "02_second.ipynb", 4).cells[1].outputs[0].data["text/plain"] == "'2'"


def test_course_redoes_what_imports_a_room_that_changed(small_course, capsys):
    "A room is not run; a change of its code redoes the chapters after it, a change of its prose nothing."
    assert small_course.run_all() == 0
    capsys.readouterr()
    write_notebook(small_course.NBS / "first" / "room.ipynb", "1 / 0", "Said better.")
    assert small_course.run_all() == 0
    assert capsys.readouterr().out.count("unchanged") == 3
    write_notebook(small_course.NBS / "first" / "room.ipynb", "2 / 0")
    assert small_course.run_all() == 0
    assert "unchanged" not in capsys.readouterr().out
    assert not (small_course.OUT / "first").exists()


@pytest.mark.parametrize("changed", ["requirements.lock", "petbreeds/weights/papernet.safetensors"])
def test_course_redoes_all_when_versions_or_weights_changed(small_course, capsys, changed):
    assert small_course.run_all() == 0
    capsys.readouterr()
    (small_course.ROOT / changed).write_text("another")
    assert small_course.run_all() == 0
    assert "unchanged" not in capsys.readouterr().out


def test_course_wants_every_notebook_in_its_list(small_course, capsys):
    write_notebook(small_course.NBS / "first" / "new.ipynb", "1 + 1")
    (small_course.NBS / "02_second.ipynb").unlink()
    assert small_course.run_all() == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines() == [
        "nbs/first/new.ipynb is not in HOUSE in course.py; add it after what it imports",
        "nbs/02_second.ipynb is in HOUSE in course.py, but there is no such notebook"]


def test_course_stops_at_a_failing_chapter(small_course, capsys):
    write_notebook(small_course.NBS / "01_first.ipynb", "1 / 0")
    assert small_course.run_all() == 1
    printed = capsys.readouterr().out
    assert "ZeroDivisionError" in printed and "01_first.ipynb" in printed and "02_second" not in printed


def test_course_stops_when_a_kernel_dies(small_course, capsys):
    write_notebook(small_course.NBS / "01_first.ipynb", "import os; os._exit(1)")
    assert small_course.run_all() == 1
    assert "Kernel died" in capsys.readouterr().out
