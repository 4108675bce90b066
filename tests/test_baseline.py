"The exercises of chapter 4: its own check cells, run on its own solutions, on other right answers and on the usual wrong ones."
import math
import re
from collections import Counter

import pytest
import torch
from exercises import Exercises

from petbreeds.baseline import error_interval

EXERCISES = Exercises("04_baseline")


@pytest.fixture
def chapter():
    "What the exercises use, and the check cells."
    space = {"torch": torch, "math": math, "Counter": Counter, "error_interval": error_interval}
    return EXERCISES.namespace(**space)


def test_every_exercise_has_a_start_and_a_solution():
    assert len(EXERCISES.starts) == len(EXERCISES.solutions) == len(EXERCISES.checks) >= 3


@pytest.mark.parametrize("start", EXERCISES.starts)
def test_start_does_not_pass(chapter, capsys, start):
    exec(start, chapter)
    assert capsys.readouterr().out.startswith("Not yet")


@pytest.mark.parametrize("solution", EXERCISES.solutions)
def test_solution_passes(chapter, capsys, solution):
    exec(solution, chapter)
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize("check, answer", [
    ("error", "lambda a, l: 1 - (a.softmax(1).max(1).indices == l).sum().item() / len(l)"),
    ("error", "lambda a, l: sum(row.argmax() != label for row, label in zip(a, l)) / len(l)"),
    ("commonest", "lambda t, v: sum(b != max(set(t), key=t.count) for b in v) / len(v)"),
    ("pictures_needed", "lambda e, h: 1.96**2 * e * (1 - e) / h**2"),
    ("pictures_needed", "lambda e, h: math.ceil(4 * e * (1 - e) / h**2)"),
])
def test_other_right_answers_pass(chapter, capsys, check, answer):
    chapter[f"check_{check}"](eval(answer, chapter))
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize("check, answer, hint", [
    ("error", "lambda a, l: (a.argmax(1) == l).float().mean()", "accuracy"),
    ("error", "lambda a, l: (a.argmax(1) != l).sum()", "number of wrong"),
    ("error", "lambda a, l: (a.argmax(1) != l).sum() / a.shape[1]", "4 breeds"),
    ("error", "lambda a, l: 0.123", "axis 1"),
    ("error", "lambda a, l: a.argmax(1) != l", "no number"),
    ("error", "lambda a, l: None", "no number"),
    ("commonest", "lambda t, v: v.count('pug') / len(v)", "accuracy"),
    ("commonest", "lambda t, v: 1 - Counter(v).most_common(1)[0][1] / len(v)", "has seen the answers"),
    ("commonest", "lambda t, v: 1 - 1 / len(set(t))", "at random"),
    ("commonest", "lambda t, v: 6", "expected 0.6"),
    ("commonest", "lambda t, v: None", "expected 0.6"),
    ("pictures_needed", "lambda e, h: 1.96**2 * e * (1 - e) / (2 * h)**2", "both sides"),
    ("pictures_needed", "lambda e, h: 1.96**2 * e * (1 - e) / (h / 2)**2", "four times too many"),
    ("pictures_needed", "lambda e, h: e * (1 - e) / h**2", "68 %"),
    ("pictures_needed", "lambda e, h: 1.96**2 / (4 * h**2)", "too many for a small one"),
    ("pictures_needed", "lambda e, h: 100", "expected about"),
    ("pictures_needed", "lambda e, h: None", "expected about"),
])
def test_wrong_answer_gets_its_sentence(chapter, capsys, check, answer, hint):
    chapter[f"check_{check}"](eval(answer, chapter))
    said = capsys.readouterr().out
    assert said.startswith("Not yet") and re.search(hint, said), said
