"""The exercises of every chapter: none is answered, each says so, its own solution passes, and an answer that fails is
no crash. What the usual mistakes are told stands in the tests of each chapter."""
import ast
import importlib
import json

import pytest
from course import HOUSE, is_chapter, module_of
from exercises import NBS, Exercises

BY_THEMSELVES = {"03_datablock"}  # its checks need the chapter's broken folders, see test_blocks.py
CHAPTERS = {name: Exercises(name) for name in HOUSE if is_chapter(name) and name not in BY_THEMSELVES}
EACH = [
    pytest.param(name, i, id=f"{name}-{i + 1}")
    for name, found in CHAPTERS.items()
    for i in range(len(found.pairs))
]


def imports_of(name: str) -> str:
    "What a chapter imports."
    cells = json.loads((NBS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    trees = [ast.parse(source) for source in code if not source.startswith("%")]
    found = [ast.unparse(tree) for tree in trees
             if tree.body and all(isinstance(one, ast.Import | ast.ImportFrom | ast.With) for one in tree.body)]
    return "\n".join(found)


def exported_by(name: str) -> dict:
    "What a chapter defines in its exported cells, with its private names."
    module = importlib.import_module(f"petbreeds.{module_of(name).removesuffix('.__init__')}")
    return {name: value for name, value in vars(module).items() if not name.startswith("__")}


def outcome(code: str, space: dict, capsys) -> str:
    "What a cell prints, and the value of its last line."
    tree = ast.parse(code)
    last = tree.body.pop()
    capsys.readouterr()
    exec(compile(tree, "<cell>", "exec"), space)
    value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), space)
    return f"{capsys.readouterr().out}{value or ''}"


@pytest.fixture(scope="module")
def spaces():
    "A namespace for each chapter, made once: what its exercises use, and its checks."
    made = {}

    def space(name):
        if name not in made:
            given = {}
            exec(imports_of(name), given)
            given |= exported_by(name)
            made[name] = CHAPTERS[name].namespace(**given)
        return dict(made[name])
    return space


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_three_exercises_or_more_each_with_a_solution(name):
    found = CHAPTERS[name]
    assert len(found.solutions) == len(found.pairs) >= 3


@pytest.mark.parametrize("name, i", EACH)
def test_nothing_is_answered_yet(name, i, spaces, capsys):
    found = CHAPTERS[name]
    assert "..." in found.pairs[i][0] and "your turn" in found.pairs[i][0]
    assert outcome(found.starts[i], spaces(name), capsys).startswith("Not ")


@pytest.mark.parametrize("name, i", EACH)
def test_the_solution_passes(name, i, spaces, capsys):
    found = CHAPTERS[name]
    for _ in range(5):  # each time the check draws another input
        solution = f"{found.solutions[i]}\n{found.calls(found.pairs[i][1])}"
        assert outcome(solution, spaces(name), capsys).startswith(("Correct", "Right"))
