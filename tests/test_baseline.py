"Chapter 4: its intervals and comparisons, and its own check cells, run on right answers and on the usual wrong ones."
import json
import math
import random
import re
from collections import Counter

import numpy as np
import pytest
import torch
from exercises import NBS, Exercises
from petbreeds.baseline import compare_paired, error_interval
from petbreeds.baseline.precision import ProcessorBf16, fastest_precision, training_speed
from petbreeds.blocks import Profile, Schedule
from petbreeds.networks import NetworkError, network
from scipy.stats import binomtest

EXERCISES = Exercises("04_baseline")


@pytest.fixture
def chapter():
    "What the exercises use, and the check cells."
    space = {"torch": torch, "math": math, "Counter": Counter, "random": random, "np": np, "binomtest": binomtest,
             "error_interval": error_interval, "compare_paired": compare_paired}
    return EXERCISES.namespace(**space)


# Exercises

@pytest.mark.parametrize("check, answer", [
    ("error", "lambda a, l: 1 - (a.softmax(1).max(1).indices == l).sum().item() / len(l)"),
    ("error", "lambda a, l: sum(row.argmax() != label for row, label in zip(a, l)) / len(l)"),
    ("commonest", "lambda t, v: sum(b != max(set(t), key=t.count) for b in v) / len(v)"),
    ("pictures_needed", "lambda e, h: 1.96**2 * e * (1 - e) / h**2"),
    ("pictures_needed", "lambda e, h: math.ceil(4 * e * (1 - e) / h**2)"),
    ("lead", "lambda n: next((k for k in range((n + 1) // 2, n + 1) if binomtest(k, n).pvalue < 0.05), None)"),
])
def test_other_right_answers_pass(chapter, capsys, check, answer):
    capsys.readouterr()
    chapter[f"check_{check}"](eval(answer, chapter))
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize("check, answer, hint", [
    ("error", "lambda a, l: (a.argmax(1) == l).float().mean()", "accuracy"),
    ("error", "lambda a, l: (a.argmax(1) != l).sum()", "number of wrong"),
    ("error", "lambda a, l: (a.argmax(1) != l).sum() / 3", "Not yet"),
    ("error", "lambda a, l: 0.123", "axis 1"),
    ("error", "lambda a, l: 0.25", "Not yet"),  # right for the known input only
    ("error", "lambda a, l: a.argmax(1) != l", "no number"),
    ("error", "lambda a, l: None", "no number"),
    ("error", "lambda a: 0", "no number"),
    ("commonest", "lambda t, v: v.count(max(set(t), key=t.count)) / len(v)", "accuracy"),
    ("commonest", "lambda t, v: 1 - Counter(v).most_common(1)[0][1] / len(v)", "has seen the answers"),
    ("commonest", "lambda t, v: 1 - 1 / len(set(t))", "at random"),
    ("commonest", "lambda t, v: 6", "training list"),
    ("commonest", "lambda t, v: 0.7", "Not yet"),  # right for the known input only
    ("commonest", "lambda t, v: None", "no number"),
    ("pictures_needed", "lambda e, h: 1.96**2 * e * (1 - e) / (2 * h)**2", "both sides"),
    ("pictures_needed", "lambda e, h: 1.96**2 * e * (1 - e) / (h / 2)**2", "four times too many"),
    ("pictures_needed", "lambda e, h: e * (1 - e) / h**2", "68 %"),
    ("pictures_needed", "lambda e, h: 1.96**2 / (4 * h**2)", "too many for a small one"),
    ("pictures_needed", "lambda e, h: 100", "error_interval"),
    ("pictures_needed", "lambda e, h: None", "no number"),
    ("lead", "lambda n: n", "half of n|five"),
    ("lead", "lambda n: None", "half of n"),
    ("lead", "lambda n: None if n < 6 else 2 * chapter_lead(n) - n", "lead over the other"),
    ("lead", "lambda n: 1 / 0", "fails"),
])
def test_wrong_answer_gets_its_sentence(chapter, capsys, check, answer, hint):
    chapter["chapter_lead"] = lambda n: next(k for k in range((n + 1) // 2, n + 1) if binomtest(k, n).pvalue < 0.05)
    capsys.readouterr()
    chapter[f"check_{check}"](eval(answer, chapter))
    said = capsys.readouterr().out
    assert said.startswith("Not yet") and re.search(hint, said), said


# The chapter as a lesson

def test_stock_fastai_trains_within_the_first_screens():
    cells = json.loads((NBS / "04_baseline.ipynb").read_text(encoding="utf-8"))["cells"]
    codes = [index for index, cell in enumerate(cells)
             if "learn = vision_learner(dls, arch, metrics=error_rate)\nlearn.fine_tune(2)" in "".join(cell["source"])]
    assert codes and codes[0] < 11
    exported = [index for index, cell in enumerate(cells) if "".join(cell["source"]).startswith("#| export")]
    assert exported[0] > codes[0]


# Intervals and comparisons

def test_interval_covers_as_often_as_it_says():
    "Of 4,000 samples of 200 pictures at a true error of 8 %, 95 % of the intervals hold 8 %, give or take."
    wrong = np.random.default_rng(0).binomial(200, 0.08, 4000)
    ends = {count: error_interval(int(count), 200) for count in set(wrong)}
    covered = np.mean([ends[count][0] <= 0.08 <= ends[count][1] for count in wrong])
    assert 0.93 < covered < 0.97


@pytest.mark.parametrize("wrong, n", [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts(wrong, n):
    with pytest.raises(ValueError, match=f"{wrong} wrong of {n} pictures"):
        error_interval(wrong, n)


def test_comparison_equals_scipys_and_does_not_depend_on_the_order_of_the_models():
    random_numbers = np.random.default_rng(1)
    for _ in range(50):
        n = int(random_numbers.integers(1, 400))
        a_right, b_right = random_numbers.random((2, n)) < random_numbers.random((2, 1))
        found = compare_paired(a_right, b_right)
        disagreements = found.only_a + found.only_b
        assert disagreements == (a_right != b_right).sum()
        assert found.only_a - found.only_b == a_right.sum() - b_right.sum()
        expected = binomtest(found.only_a, disagreements).pvalue if disagreements else 1.0
        assert found.p == pytest.approx(expected)
        assert compare_paired(b_right, a_right) == (found.only_b, found.only_a, found.p)


def test_comparison_takes_tensors_and_lists():
    a_right = torch.tensor([True, True, False])
    assert compare_paired(a_right, [1, 0, 0]) == (1, 0, 1.0)


def test_comparison_of_thousands_of_pictures():
    found = compare_paired([1] * 3000 + [0] * 2600, [0] * 3000 + [1] * 2600)
    assert found.p == pytest.approx(binomtest(3000, 5600).pvalue)


@pytest.mark.parametrize("a_right, b_right", [([1, 0], [1]), ([[1], [0]], [[1], [0]])])
def test_comparison_refuses_answers_to_different_pictures(a_right, b_right):
    with pytest.raises(ValueError, match="same pictures"):
        compare_paired(a_right, b_right)


# Number formats and speed

@pytest.mark.parametrize("processor, arch, precision", [
    ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, "resnet18", "bf16"),
    ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, "lcnet_050", "fp32"),  # depthwise
    ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, "resnet18", "fp32"),
    ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, "resnet18", "bf16"),
    ({}, "resnet18", "fp32"),
])
def test_number_format_follows_the_processor(monkeypatch, processor, arch, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    assert fastest_precision(network(arch, 37), "cpu") == precision


@pytest.mark.parametrize("device, precision", [("cuda:0", "fp16"), ("mps", "fp32")])
def test_number_format_follows_the_device(monkeypatch, device, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert fastest_precision(network("resnet18", 37), device) == precision


def test_an_interrupt_does_not_leave_bf16_on():
    callback = ProcessorBf16()
    callback.learn = type("Learn", (), {"pred": torch.zeros(1)})()
    try:
        callback.before_batch()
        assert torch.is_autocast_enabled("cpu")
        callback.before_batch()  # the mini-batch before was interrupted
    finally:
        callback.after_pred()
    assert not torch.is_autocast_enabled("cpu")


def test_speed_of_an_unknown_network_is_one_line():
    profile = Profile("folder", item_size=40, size=32, bs=4, arch="resnet43", pretrained=False,
                      schedule=Schedule(1, 1e-3, 0))
    with pytest.raises(NetworkError, match="did you mean resnet34") as error:
        training_speed(profile)
    assert "\n" not in str(error.value)
