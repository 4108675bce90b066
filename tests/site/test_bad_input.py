"Notebooks that must not become pages: each fault is one line that names notebook and cell."
import json

import pytest
from builder import build

import api
import chapter_map
import checks
import contents
import floors
import notebook_source
import pictures
import quiz

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
PICTURE = {"output_type": "display_data", "metadata": {}, "data": {"image/png": PIXEL, "text/plain": ["<Figure>"]}}
RESULT = {"output_type": "execute_result", "metadata": {}, "execution_count": 1, "data": {"text/plain": ["2"]}}
ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no breed", "traceback": []}


def code(source, *outputs):
    return {
        "cell_type": "code",
        "metadata": {},
        "execution_count": None,
        "source": source,
        "outputs": list(outputs),
        "id": "c",
    }


def text(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source, "id": "m"}


def notebook(*cells):
    return {
        "cells": [text("# Softmax\n\n> Shares\n\nIt takes about ten seconds."), *cells],
        "metadata": {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def write(file, *cells, title):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"cells": [text(title), *cells]}), encoding="utf-8")


GOOD = code("1 + 1", RESULT)
BAD = {
    "no outputs": (
        [code("1 + 1"), code("2 + 2")],
        "nbs/05_softmax.ipynb, cell 2 (1 + 1): no cell of the notebook has a stored output",
    ),
    "an error": (
        [GOOD, code("breed_of('x')", ERROR)],
        "nbs/05_softmax.ipynb, cell 3 (breed_of('x')): the stored output is an error, ValueError: no breed",
    ),
    "no alt text": (
        [code("plt.plot(x)", PICTURE)],
        "nbs/05_softmax.ipynb, cell 2 (plt.plot(x)): a figure without alt text",
    ),
    "empty alt text": (
        [code("#| fig-alt:\nplt.plot(x)", PICTURE)],
        "nbs/05_softmax.ipynb, cell 2 (plt.plot(x)): a figure without alt text",
    ),
    "alt text, no figure": (
        [GOOD, code("#| fig-alt: A line.\nplt.plot(x)")],
        "nbs/05_softmax.ipynb, cell 3 (plt.plot(x)): alt text, but no figure",
    ),
    "a picture without alt": (
        [GOOD, text("Look:\n\n![](pets.png)")],
        "nbs/05_softmax.ipynb, cell 3 (Look:): a picture without alt text",
    ),
    "a heading twice": (
        [GOOD, text("## Shares"), text("## Shares")],
        "nbs/05_softmax.ipynb, cell 4 (## Shares): the heading 'Shares' stands in cell 3",
    ),
    "a second title": ([GOOD, text("# Another")], "nbs/05_softmax.ipynb, cell 3 (# Another): a second title"),
    "a quiz without a right answer": (
        [
            GOOD,
            text("**1. Which?**\n(a) one (b) two\n\n<details><summary>Answer</summary>\n\n**d.** No.\n\n</details>"),
        ],
        "nbs/05_softmax.ipynb, cell 3 (**1. Which?**): the quiz question '**1. Which?**' has the options a, b and the "
        "answer d",
    ),
}


@pytest.mark.parametrize("cells, line", BAD.values(), ids=BAD)
def test_fault_is_told_in_a_line(cells, line):
    found = notebook_source.faults("05_softmax", notebook(*cells))
    assert len(found) == 1 and found[0].startswith(line) and "\n" not in found[0]


def test_chapter_must_say_how_long_it_takes():
    cells = [text("# Softmax\n\n> Shares"), GOOD]
    assert "does not say how long it takes" in notebook_source.faults("05_softmax", {"cells": cells})[0]


def test_minutes_to_read_are_estimated_where_a_chapter_does_not_say():
    said = [text("# A\n\n**Takes:** half a minute to run; reading it takes about 40 minutes.")]
    assert (chapter_map.reading_time(said), chapter_map.time_of(said)) == (40, "half a minute")
    assert chapter_map.time_of([text("It takes 40 minutes to read and about a minute to run.")]) == "about a minute"
    assert chapter_map.reading_time([text("# A\n\n" + 1800 * "word ")]) == 10
    assert chapter_map.reading_time([text("# A")]) == 5


def test_room_need_not():
    assert notebook_source.faults("layout/sources", {"cells": [text("# Sources\n\n> Where"), GOOD]}) == []


def test_good_notebook_has_no_fault():
    good = [GOOD, code("#| fig-alt: A line.\nplt.plot(x)", PICTURE), code("#| slow\n#| fig-alt: A line.\nplt.plot(x)"),
            text("```python\n# no title\n![](no.png)\n```")]
    assert notebook_source.faults("05_softmax", notebook(*good)) == []


def test_table_of_contents_and_folder_must_agree(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "PARTS", {"Loss": ["05_softmax", "06_cross_entropy"], "Appendix": []})
    monkeypatch.setattr(contents, "BELOW", {})
    (tmp_path / "layout").mkdir()
    for name in ("index", "05_softmax", "07_new", "layout/cellar"):
        (tmp_path / f"{name}.ipynb").write_text("{}")
    missing, room, absent = contents.faults(tmp_path)
    assert missing.startswith("nbs/07_new.ipynb: missing from the table of contents; add it to PARTS")
    assert room.startswith("nbs/layout/cellar.ipynb: missing from the table of contents; add it to HOUSE in course.py")
    assert absent.startswith("nbs/06_cross_entropy.ipynb: no such notebook")


def test_rooms_stand_under_their_floor_in_the_order_of_the_house(tmp_path):
    write(tmp_path / "layout" / "archive.ipynb", code("#| default_exp layout.archive"), title="# Archive\n\n> Fetches")
    pages = contents.pages()
    first = pages.index("rooms/layout")
    assert pages[first + 1:first + 5] == ["layout/lists", "layout/folders", "layout/sources", "layout/archive"]
    page = floors.floor_page(tmp_path, "layout")
    assert "[Archive](../layout/archive.ipynb)" in page and "Fetches" in page and "/layout/archive\n" in page
    assert "rooms/layout" in contents.toctrees("index") and "layout/archive" not in contents.toctrees("index")


def test_check_is_folded_by_itself():
    reader, check = code("mine = ..."), code("def check_it(): ...\ncheck_it()", RESULT)
    check["metadata"] = {"tags": ["hide-input"]}
    imports = code("import math")
    shown = notebook_source.convert("05_softmax", [reader, check, imports], api.Reference())
    shown = [(cell["metadata"].get("mystnb", {}).get("code_prompt_show"), cell["outputs"]) for _, cell in shown
             if cell["cell_type"] == "code"]
    assert shown == [(None, []), ("The check · 2 lines", []), ("Imports and settings · 1 line", [])]


def test_a_cell_of_private_names_is_folded_unless_its_author_shows_it():
    hidden, shown = code("def _valley(): ..."), code("def _valley(): ...")
    shown["metadata"] = {"tags": ["show-input"]}
    assert notebook_source.fold_of(hidden) == ("How it is done", ["_valley"])
    assert notebook_source.fold_of(shown) is None


def test_build_fails_and_says_where(tmp_path):
    "Through Sphinx: an error output, a broken reference and a missing chapter, each by notebook and cell."
    nbs = tmp_path / "nbs"
    nbs.mkdir()
    index = notebook(text("## The chapters\n\nA list."), code("2", RESULT))
    bad = notebook(
        code("#| export\ndef softmax(x): return x"),
        code("softmax('x')", ERROR),
        text("See [chapter 9](09_gone.ipynb) and [this](#nowhere)."),
    )
    for name, cells in (("index", index), ("05_softmax", bad), ("99_unlisted", notebook(GOOD))):
        (nbs / f"{name}.ipynb").write_text(json.dumps(cells))
    done = build(nbs, tmp_path / "out")
    assert done.returncode != 0
    assert "nbs/05_softmax.ipynb, cell 3 (softmax('x')): the stored output is an error" in done.stderr
    assert (
        "nbs/05_softmax.ipynb, cell 4: WARNING: " in done.stderr
        and "09_gone.ipynb" in done.stderr
        and "nowhere" in done.stderr
    )
    assert "nbs/99_unlisted.ipynb: missing from the table of contents" in done.stderr


def test_quiz_question_becomes_choices():
    asked = (
        "## Quiz\n\n**1. Why (really)?**\n(a) for `f(a)` (b) for speed\n\n"
        "<details><summary>Answer</summary>\n\n**b.** It is.\n\n</details>\n\nAfter."
    )
    (question, options, right, answer), = quiz.questions(asked)
    assert (question, options, right, answer) == (
        "**1. Why (really)?**",
        {"a": "for `f(a)`", "b": "for speed"},
        "b",
        "**b.** It is.",
    )
    made = quiz.as_directives(asked)
    assert made.startswith("## Quiz") and "{question} b 2 b\n" in made
    assert made.endswith("After.") and "<details>" not in made


def test_question_without_options_stays_as_it_is():
    asked = "**1. Why?**\n\n<details><summary>Answer</summary>\n\nBecause.\n\n</details>"
    assert quiz.as_directives(asked) == asked


def test_entry_of_an_exported_function():
    entry, = api.entries_in('def pick(x: Tensor,  # activations, shape (N, C)\n         k: int = 5,  # how many\n'
                            '        ) -> list:  # of names\n    "The best `k`."\n    return []')
    assert entry.signature == "pick(x, k=5) -> list" and entry.doc == "The best `k`."
    assert [(p.name, p.type, p.meaning) for p in entry.parameters] == [
        ("x", "Tensor", "activations, shape (N, C)"),
        ("k", "int", "how many"),
    ]
    assert entry.returns.meaning == "of names"
    assert "| `k` | `int` | `5` | how many |" in api.markdown(entry)


def test_entry_of_a_class_and_of_constants():
    stage, best, rate = api.entries_in(
        '@dataclass\nclass Stage:\n    "A stage."\n    lr: float = 1e-3  # rate\n\n'
        '    def fit(self):\n        "Train."\n\n\n'
        'BEST, RATE = 1, 2\nother = 3\n_HIDDEN = 4'
    )
    assert (stage.signature, stage.parameters[0].meaning, stage.methods[0].signature) == (
        "Stage(lr=0.001)",
        "rate",
        "Stage.fit()",
    )
    assert (best.name, rate.name) == ("BEST", "RATE")


def test_entry_of_a_command_of_the_shell():
    "typer's `Annotated` says what an option means, in the signature or under a name of an earlier cell."
    short = api.short_types('_Rate = Annotated[float, typer.Option(help="The learning rate.")]')
    (train,) = api.entries_in(
        '@app.command("fit")\ndef train(lr: _Rate = 1, bs: Annotated[int, Option(help="How many.")] = 2):\n    ...',
        short,
    )
    assert [p.meaning for p in train.parameters] == ["The learning rate.", "How many."] and train.word == "fit"


def test_comment_explains_all_parameters_on_its_line():
    (line,) = api.entries_in("def line(\n    x, y,  # a place, px\n    to=None,\n):  # its length\n    return x")
    assert [(p.name, p.meaning) for p in line.parameters] == [("x", "a place, px"), ("y", "a place, px"), ("to", "")]
    assert api.blanks(line) == ["to"]
    (line,) = api.entries_in("def line(x, y):  # a place, px\n    return x")
    assert api.blanks(line) == ["x"]


def test_example_is_a_call_in_a_lesson_then_a_use(tmp_path):
    first = [text("# First"), code("#| default_exp first"),
             code("#| export\ndef grow(x): ...\n\n\ndef sow(): ...\n\n\ndef dig(): ...\n\n\n"
                  "def long(f, x): ..."),
             code("#| export\n@mark('red')\ndef paint(): ...\n\n\n@app.command()\ndef reap() -> Crop: ..."),
             code("#| export\nclass Crop:\n    'What is reaped.'"),
             code("#| export\ndef uses_dig():\n    if dig():\n        return 1"),
             code("#| export\ndef uses_long():\n    return [\n" + "        1,\n" * 12 + "        long(len, 2)]"),
             code("#| export\nTOOLS = all_of('spade:fork')\n\n\n@mark('fork')\ndef fork(): ..."),
             code("grow(1)"), code("grow(2)", {"output_type": "stream", "text": "3"}),
             code("#| slow\npaint()"), code("colour(['red'])"), code("test_eq(names, ['reap'])"), code("shell('reap')")]
    second = [text("# Second"), code("from petbreeds.first import sow"), code("\n" * 12 + "sow()\n" + "y = 1\n" * 12)]
    third = [text("# Third"), code("sow(3)")]  # not imported: its own
    for name, cells in {"first": first, "second": second, "third": third}.items():
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    reference = api.read(tmp_path)
    examples = {entry.name: entry.example for entry in reference.entries}
    assert examples["grow"] == "```python\ngrow(2)\n```\n\n```text\n3\n```"
    assert examples["sow"] == "```python\nsow()\n```"
    assert examples["paint"] == "```python\ncolour(['red'])\n```"
    assert examples["reap"] == examples["Crop"] == "```python\nshell('reap')\n```"
    assert examples["dig"] == "In `uses_dig`:\n\n```python\nif dig():\n    ...\n```"
    assert examples["long"] == "In `uses_long`:\n\n```python\nlong(len, 2)\n```"
    assert examples["fork"] == "In the package:\n\n```python\nTOOLS = all_of('spade:fork')\n```"
    assert examples["uses_dig"] == ""


def test_entry_of_a_named_tuple():
    (pair,) = api.entries_in('class Pair(NamedTuple):\n    "Two."\n    only_a: int  # right in a alone\n    p: float')
    assert [(p.name, p.type, p.meaning) for p in pair.parameters] == [
        ("only_a", "int", "right in a alone"),
        ("p", "float", ""),
    ]


def test_output_that_shows_nothing_is_left_out():
    line = {"output_type": "stream", "name": "stdout", "text": ["\n"]}
    said = {"output_type": "stream", "name": "stdout", "text": ["loss\n"]}
    assert notebook_source.code_cell(code("print()", line, said), "")["outputs"] == [said]


def test_caption_is_the_paragraph_in_italics_below():
    assert notebook_source.split_caption("*Left: `x`.*\n\nMore.") == ("Left: `x`.", "More.")
    assert notebook_source.split_caption("*Left* and right.") == ("", "*Left* and right.")


def test_small_pictures_stay_as_they_are():
    assert pictures.lighter(PICTURE) is PICTURE and pictures.lighter(RESULT) is RESULT


def test_number_of_a_page():
    assert [contents.number(page) for page in ("05_softmax", "14_shipping", "00_paperpets", "glossary", "index")] == [
        "5",
        "14",
        "A",
        "",
        "",
    ]
    rooms = ("paperpets/shapes", "layout/archive", "ground/files")
    assert [contents.number(page) for page in rooms] == ["A.2", "1.4", ""]
    assert [contents.number(page) for page in ("rooms/layout", "api/petbreeds.layout")] == ["", ""]
    assert checks.directives(code("#| export\n#| fig-alt: a: b\nx"))["fig-alt"] == "a: b"
