"The rules of the house (tests/house.py): the repository keeps them, and each fails where it is broken."
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytest.importorskip("nbclient", reason="needs the development environment")
pytest.importorskip("sphinx", reason="needs the development environment")
sys.path.append(str(ROOT))
import course
import house


def test_house_lists_all_notebooks():
    assert course.house_faults() == []


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_repository_keeps(rule):
    found = rule(course.HOUSE, house.read(ROOT, course.HOUSE))
    assert not found, "\n" + "\n".join(found)


# A small house that keeps every rule, and for each rule ways to break it.

def code(source, **output):
    outputs = [{"output_type": "stream", "name": "stdout", "text": text} for text in output.values()]
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": outputs}


def text(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


WHY = text("# Sources\n\n> Where\n\n" + "This room stands here because the lesson above it needs what it does. " * 5)
READER, CHECK = (
    code("mine = ..."),
    code("def check_mine(answer):\n    print('Not yet')\n\ncheck_mine(mine)", said="Not yet"),
)
LESSON = [code(f"look({i})") for i in range(12)]
HOUSE = ["ground/files", "layout/sources", "layout/auditing", "01_layout", "05_softmax", "cli/doctor", "20_cli"]
MODULES = dict(
    zip(
        HOUSE,
        ["files", "layout.sources", "layout.auditing", "layout.__init__", "softmax", "cli.doctor", "cli.__init__"],
    )
)
SOUND = {
    "ground/files": [WHY, code("#| export\nimport json\n\ndef digest(): ..."), code("test_eq(digest(), None)")],
    "layout/sources": [
        WHY,
        code("#| export\nfrom ..files import digest\n\ndef listing(): return digest()"),
        code("assert not listing()"),
    ],
    "layout/auditing": [
        WHY,
        code("#| export\ndef audit():\n    from petbreeds.layout import breed_of\n    breed_of()"),
        code("test_eq(audit(), None)"),
    ],
    "01_layout": [
        code(
            "#| export\nfrom petbreeds.layout.sources import listing\n\n"
            "def breed_of(path,  # of a picture\n    ):\n    return listing"
        ),
        *LESSON,
        READER,
        CHECK,
    ],
    "05_softmax": [code("#| export\nfrom petbreeds.layout import breed_of\n\nbreed_of"), *LESSON],
    "cli/doctor": [
        WHY,
        code("#| export\ndef diagnose():\n    from petbreeds.cli import main\n    main()"),
        code("test_eq(diagnose(), None)"),
    ],
    "20_cli": [code("#| export\ndef main(): ...")],
}
# The room auditing stands above its face: it imports the face.
ORDER = ["ground/files", "layout/sources", "01_layout", "layout/auditing", "05_softmax", "cli/doctor", "20_cli"]


def plant(root, changed=()):
    "A repository of the small house, some of its notebooks changed; returns what the rules take."
    for name, cells in (SOUND | dict(changed)).items():
        module = MODULES[name]
        notebook = root / "nbs" / f"{name}.ipynb"
        notebook.parent.mkdir(parents=True, exist_ok=True)
        notebook.write_text(json.dumps({"cells": [code(f"#| default_exp {module}"), *cells]}), encoding="utf-8")
        file = root.joinpath("petbreeds", *module.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        exported = [
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code" and "#| export" in cell["source"]
        ]
        file.write_text("\n\n".join(exported), encoding="utf-8")
    (root / "petbreeds" / "__init__.py").touch()
    return ORDER, house.read(root, ORDER)


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_sound_house_breaks_no_rule(tmp_path, rule):
    assert rule(*plant(tmp_path)) == []


def room(exported, *others):
    "A room with prose, one exported cell and a test."
    return [WHY, code(f"#| export\n{exported}"), code("test_eq(1, 1)"), *others]


QUIZ = (
    "**{}. Which?**\n(a) one (b) two (c) three\n\n"
    "<details><summary>Answer</summary>\n\n**{}.** So it is.\n\n</details>\n\n"
)
QUIZZES = {
    letters: text("# Quiz\n\n" + "".join(QUIZ.format(i + 1, letter) for i, letter in enumerate(letters)))
    for letters in ("abbcb", "abbc", "abcab")
}
RULE, NAME, CELLS, SAID = range(4)
BREACHES = {
    "a relative import upwards": (
        house.upward_imports,
        "ground/files",
        room("from .layout import breed_of"),
        "nbs/ground/files.ipynb, cell 3 (from .layout import breed_of): files imports petbreeds.layout, which stands "
        "after it",
    ),
    "an absolute import upwards": (
        house.upward_imports,
        "layout/sources",
        room("import petbreeds.softmax as s"),
        "imports petbreeds.softmax",
    ),
    "an import of a module out of its package": (
        house.upward_imports,
        "layout/sources",
        room("from .. import softmax"),
        "imports petbreeds.softmax",
    ),
    "an import upwards inside a function": (
        house.upward_imports,
        "ground/files",
        room("def f():\n    if f:\n        from petbreeds.layout.sources import x"),
        "imports petbreeds.layout.sources",
    ),
    "a lesson's import upwards": (
        house.upward_imports,
        "01_layout",
        [code("1 + 1"), code("%time\nfrom petbreeds.softmax import softmax")],
        "nbs/01_layout.ipynb, cell 3",
    ),
    "a room below that imports its face": (
        house.upward_imports,
        "layout/sources",
        room("from . import breed_of"),
        "imports petbreeds.layout,",
    ),
    "an import of the command line": (
        house.upward_imports,
        "05_softmax",
        [code("#| export\nfrom petbreeds.cli import main")],
        "imports petbreeds.cli",
    ),
    "a room below and above its face": (
        house.rooms_below_and_above,
        "layout/sources",
        room("def f():\n    from petbreeds.layout import breed_of"),
        "nbs/layout/sources.ipynb: the room imports its face petbreeds.layout, and the face imports the room",
    ),
    "a room below and above through another": (
        house.rooms_below_and_above,
        "layout/sources",
        room("from petbreeds.layout.auditing import audit"),
        "nbs/layout/sources.ipynb: the room imports its face",
    ),
    "a room named like a function": (
        house.rooms_named_like_a_function,
        "01_layout",
        [code("#| export\ndef sources(): ...")],
        "nbs/layout/sources.ipynb: the room has the name of sources, which petbreeds.layout exports",
    ),
    "a room named like what its face hands on": (
        house.rooms_named_like_a_function,
        "01_layout",
        [code("#| export\nfrom petbreeds.files import digest as auditing")],
        "nbs/layout/auditing.ipynb: the room has the name",
    ),
    "an import that nothing uses": (
        house.unused_imports,
        "05_softmax",
        [code("#| export\nfrom petbreeds.layout import breed_of, audit\n_all_ = ['audit']")],
        "nbs/05_softmax.ipynb, cell 2 (from petbreeds.layout import breed_of, audit): breed_of is imported but unused",
    ),
    "a light module that imports torch": (
        house.heavy_imports,
        "layout/sources",
        room("import torch\nlisting = torch"),
        "petbreeds.layout.sources imports torch",
    ),
    "a light module that imports fastai by another": (
        house.heavy_imports,
        "ground/files",
        room("import mine as digest"),
        "petbreeds.files imports fastai",
    ),
    "a light module that does not start": (
        house.heavy_imports,
        "ground/files",
        room("import nothing_of_that_name"),
        "No module named 'nothing_of_that_name'",
    ),
    "a lesson of machinery": (
        house.lessons_of_machinery,
        "05_softmax",
        [code("#| export\na = 1\nb = 2"), code("a"), code("b"), code("a + b")],
        "nbs/05_softmax.ipynb: 2 of 5 lines of code are exported (40%",
    ),
    "a room without a test": (
        house.rooms_without_a_test,
        "layout/sources",
        [WHY, code("#| export\ndef f(): assert f"), code("print(f)")],
        "nbs/layout/sources.ipynb: the room has no cell that tests it",
    ),
    "a room without prose": (
        house.rooms_without_prose,
        "layout/sources",
        [text("# Sources\n\n> Where\n\nA room."), *room("x = 1")[1:]],
        "nbs/layout/sources.ipynb: the room has 2 words of prose",
    ),
    "a wide cell in a chapter": (
        house.wide_cells,
        "01_layout",
        [code("x = 1"), code("y" * 89)],
        "nbs/01_layout.ipynb, cell 3 (yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy): a line of 89 columns, at "
        "most 88",
    ),
    "a wide cell in a room": (house.wide_cells, "ground/files", room("y" * 101), "a line of 101 columns, at most 100"),
    "a lopsided quiz": (
        house.lopsided_quizzes,
        "05_softmax",
        [QUIZZES["abbcb"]],
        "nbs/05_softmax.ipynb: 3 of 5 right answers of the quiz are (b)",
    ),
    "an exercise with an answer in it": (
        house.exercises_that_answer,
        "01_layout",
        [code("mine = 0.4  # your turn"), CHECK],
        "nbs/01_layout.ipynb, cell 2 (mine = 0.4  # your turn): the reader's cell before check_mine does not start "
        "empty",
    ),
    "a function half written": (
        house.exercises_that_answer,
        "01_layout",
        [code("def mine(x):\n    y = x\n    ..."), CHECK],
        "does not start empty",
    ),
    "an answer beside the dots": (
        house.exercises_that_answer,
        "01_layout",
        [code("mine = ...\nprint(0.4)"), CHECK],
        "does not start empty",
    ),
    "a check before the reader's cell": (
        house.exercises_that_answer,
        "01_layout",
        [code("1 + 1"), CHECK, READER],
        "does not start empty",
    ),
    "a parameter without a meaning": (
        house.names_without_a_meaning,
        "layout/sources",
        room("def listing(folder,  # of pictures\n            depth=1):\n    return folder"),
        "nbs/layout/sources.ipynb, cell 3 (def listing(folder,  # of pictures): listing does not say what depth means",
    ),
    "a parameter explained behind the bracket that closes others": (
        house.names_without_a_meaning,
        "ground/files",
        room("def digest(file, size):  # bytes\n    return file"),
        "digest does not say what file means",
    ),
    "a field without a meaning": (
        house.names_without_a_meaning,
        "ground/files",
        room("@dataclass\nclass Pair:\n    a: int  # the first\n    b: int"),
        "Pair does not say what b means",
    ),
    "a value without a meaning": (
        house.names_without_a_meaning,
        "05_softmax",
        [code("#| export\ndef softmax() -> int:\n    return 1")],
        "softmax does not say what it returns",
    ),
    "a stored answer": (
        house.exercises_that_answer,
        "01_layout",
        [code("mine = ...", said="0.4"), CHECK],
        "stores an output",
    ),
}


@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
def test_breach_is_found_and_named(tmp_path, breach):
    (tmp_path / "torch.py").touch()
    (tmp_path / "fastai.py").touch()
    (tmp_path / "mine.py").write_text("import fastai")
    said = breach[RULE](*plant(tmp_path, {breach[NAME]: breach[CELLS]}))
    assert said and breach[SAID] in said[0], said


def test_module_left_over_is_found(tmp_path):
    planted = plant(tmp_path)
    (tmp_path / "petbreeds" / "layout" / "old.py").touch()
    assert house.modules_without_a_notebook(*planted) == [
        "petbreeds/layout/old.py: no notebook exports this module; delete it"
    ]


@pytest.mark.parametrize("name, cells", [
    ("ground/files", room("from pathlib import Path as digest\nimport petbreeds")),
    ("cli/doctor", room("from petbreeds.softmax import softmax\nfrom petbreeds.cli import main\nsoftmax(main)")),
    ("cli/doctor", room("class Disk:\n    'A disk.'\n\ndef copy(x, y,  # places\n    disk: Disk) -> Disk:\n    ...")),
    ("cli/doctor", room("def _copy(x) -> int:\n    ...\n\ndef copied() -> None:\n    ...")),
    ("05_softmax", [QUIZZES["abbc"]]),  # too few to count
    ("05_softmax", [QUIZZES["abcab"]]),
    ("01_layout", [code("# Only this.\nmine = ..."), text("Then run the check."), CHECK]),
    ("01_layout", [code('def mine(x):\n    "A pattern."\n    ...'), CHECK]),
    ("01_layout", [code("#| fig-alt: " + "wide " * 30 + "\nplot()")]),  # a directive is not code
])
def test_what_is_allowed(tmp_path, name, cells):
    planted = plant(tmp_path, {name: cells})
    rules = [rule for rule in house.RULES if rule is not house.lessons_of_machinery]
    assert [line for rule in rules for line in rule(*planted)] == []


def test_notebook_that_the_list_lacks_or_misses_is_named(tmp_path, monkeypatch):
    plant(tmp_path)
    monkeypatch.setattr(course, "NBS", tmp_path / "nbs")
    monkeypatch.setattr(course, "HOUSE", [*HOUSE[1:], "07_interpretation"])
    new, gone = course.house_faults()
    assert new == "nbs/ground/files.ipynb is not in HOUSE in course.py; add it after what it imports"
    assert gone == "nbs/07_interpretation.ipynb is in HOUSE in course.py, but there is no such notebook"
