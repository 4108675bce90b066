"LRFinder and suggest: equal to fastai's, no trace left whatever ends a search, and one clear line for what cannot be."
import math
import random
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import fastai.callback.schedule as fastai_schedule
import numpy as np
import pytest
import torch
from exercises import Exercises
from fastai.basics import CrossEntropyLossFlat, DataLoader, DataLoaders, Learner, OptimWrapper, error_rate, set_seed
from fastai.callback.all import Callback
from fastai.vision.learner import vision_learner
from hypothesis import given, settings
from hypothesis import strategies as st
from petbreeds.baseline.precision import ProcessorBf16
from petbreeds.checkpoint import RepeatableEpochs
from petbreeds.files import PetsError
from petbreeds.lr_finder import FEWEST_POINTS, SUGGESTIONS, LRFinder, LRFinderError, _falling, suggest
from torch import nn
from torch.utils.data import TensorDataset

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parent.parent
EXERCISES = Exercises("08_lr_finder")


def learner(seed=0, cbs=(), opt_func=None, n=96, bs=8, folder="."):
    "Two groups of layers with batch normalisation and dropout, on points of three classes, without bars."
    set_seed(seed, reproducible=True)
    inputs = torch.randn(n, 6)
    labels = (inputs[:, :3] + 0.1 * torch.randn(n, 3)).argmax(1)
    train = DataLoader(TensorDataset(inputs, labels), bs=bs, shuffle=True, drop_last=True)
    dls = DataLoaders(train, DataLoader(TensorDataset(inputs[:24], labels[:24]), bs=bs))
    dls.n_inp = 1  # what RepeatableEpochs asks for
    body = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU())
    model = nn.Sequential(body, nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 3)))
    model.register_buffer("unsaved", torch.zeros(2), persistent=False)
    options = {"opt_func": opt_func} if opt_func else {}
    learn = Learner(dls, model, loss_func=CrossEntropyLossFlat(), metrics=error_rate, path=folder, cbs=list(cbs),
                    splitter=lambda model: [list(part.parameters()) for part in model], **options)
    learn.remove_cb(learn.progress)
    learn.logger = lambda row: None
    return learn


def state_of(learn):
    "All that a search must not change, as values that can be compared."
    optimiser = deepcopy(learn.opt.state_dict()) if learn.opt else None
    return {
        "tensors": {name: value.clone() for name, value in
                    [*learn.model.named_parameters(), *learn.model.named_buffers()]},
        "gradients": [None if p.grad is None else p.grad.clone() for p in learn.model.parameters()],
        "learning": [p.requires_grad for p in learn.model.parameters()],
        "modes": [module.training for module in learn.model.modules()],
        "optimiser": optimiser,
        "python": random.getstate(),
        "numpy": [part.tolist() if hasattr(part, "tolist") else part for part in np.random.get_state()],
        "torch": torch.get_rng_state(),
        "orders": [loader.rng.getstate() for loader in learn.dls.loaders],
        "history": [list(getattr(learn.recorder, name, [])) for name in ("values", "losses", "lrs")],
        "means": [dict(vars(mean)) for mean in (learn.recorder.loss, learn.recorder.smooth_loss)],
        "names": sorted(vars(learn)), "callbacks": [cb.name for cb in learn.cbs],
        "loaders": [sorted(vars(loader)) for loader in learn.dls.loaders],
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) or type(a).__name__ == "L":
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def assert_unchanged(learn, search):
    before = state_of(learn)
    search()
    after = state_of(learn)
    assert not [name for name in before if not same(before[name], after[name])]


class At(Callback):
    "Does something at an event of the third training step."
    def __init__(self, event, action):
        self.action = action
        setattr(self, event, self.act)

    def act(self):
        if self.training and self.train_iter == 3:
            self.action()


def raising(error):
    def act():
        raise error
    return act


# Equal to fastai's

@pytest.mark.parametrize("num_it", [30, 100])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_curve_is_that_of_lr_find(num_it, frozen, tmp_path):
    curves = []
    for ours in (True, False):
        learn = learner(folder=tmp_path)
        if frozen:
            learn.freeze()
        set_seed(3)
        learn.dls.train.rng = random.Random(3)
        if ours:
            finder = LRFinder(num_it=num_it).find(learn)
            curves.append((finder.rates, finder.losses))
        else:
            learn.lr_find(num_it=num_it, show_plot=False, suggest_funcs=None)
            curves.append((learn.recorder.lrs, [float(loss) for loss in learn.recorder.losses]))
    assert np.allclose(curves[0][0], curves[1][0], rtol=1e-9)
    assert np.allclose(curves[0][1], curves[1][1], rtol=1e-4)


def test_the_part_that_is_read_is_fastais(tmp_path):
    learn = learner(folder=tmp_path)
    set_seed(3)
    learn.dls.train.rng = random.Random(3)
    finder = LRFinder(num_it=40).find(learn)
    seen = []

    def look(rates, losses, num_it):
        seen.append((rates, losses))
        return 0.0, (0.0, 0.0)
    learn.lr_find(num_it=40, show_plot=False, suggest_funcs=look)
    assert np.allclose(finder.curve[0], seen[0][0]) and len(finder.curve[0]) == 40 - 4 - 5
    assert np.allclose(finder.curve[1], seen[0][1], rtol=1e-4)


def rates_of(gaps):
    return torch.tensor(1e-7 * np.exp(np.cumsum(gaps)), dtype=torch.float32)


def lists(values, n):
    return st.lists(values, min_size=n, max_size=n)


SIZES = st.integers(FEWEST_POINTS, 60)
ANY = st.floats(-1e3, 1e3, width=32)
FEW = st.integers(0, 4).map(lambda level: level / 100)  # with many equal losses and slopes near the threshold


@pytest.mark.parametrize("how", SUGGESTIONS)
@settings(max_examples=150, deadline=None)
@given(curve=SIZES.flatmap(lambda n: st.tuples(st.one_of(lists(ANY, n), lists(FEW, n)),
                                               lists(st.floats(0.01, 1), n))))
def test_suggestions_are_fastais(how, curve):
    losses, rates = torch.tensor(curve[0]), rates_of(curve[1])
    expected, _ = getattr(fastai_schedule, how)(rates, losses, len(losses))
    assert suggest(rates, losses, how) == expected


@pytest.mark.parametrize("how", SUGGESTIONS)
@pytest.mark.parametrize("slope", [-1, 0, 1])
def test_straight_curves(how, slope):
    rates, losses = torch.logspace(-7, 1, 50), 5 + slope * torch.linspace(0, 1, 50)
    expected, _ = getattr(fastai_schedule, how)(rates, losses, 50)
    assert suggest(rates, losses, how) == expected
    assert suggest(rates.tolist(), losses.numpy(), how) == expected  # lists and arrays, too


def test_valley_takes_a_window_that_is_not_the_selection():
    "The falling points lie at the two ends: the window of their number is all at the right end."
    losses = torch.tensor([9.0, 8.0, 7.0, 6.0, *[9.5] * 20, 5.0, 4.0, 3.0, 2.0])
    rates = torch.arange(1.0, len(losses) + 1)
    chosen = rates.tolist().index(suggest(rates, losses, "valley"))
    assert 4 <= chosen < 24  # among the points that do not fall
    assert suggest(rates, losses, "valley") == fastai_schedule.valley(rates, losses, 28)[0]


# No trace

SITUATIONS = {
    "never trained": lambda learn: None,
    "trained": lambda learn: learn.fit(2, 1e-2),
    "frozen": lambda learn: learn.freeze(),
    "fine-tuned, then frozen": lambda learn: (learn.fine_tune(1, 1e-2), learn.freeze()),
    "fine-tuned, unfrozen": lambda learn: (learn.fine_tune(1, 1e-2), learn.unfreeze()),
    "at rest": lambda learn: (learn.fit(1, 1e-2), learn.model.eval()),
    "with gradients": lambda learn: learn.model(torch.randn(8, 6)).sum().backward(),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_search_changes_nothing(situation):
    learn = learner()
    SITUATIONS[situation](learn)
    assert_unchanged(learn, lambda: LRFinder(num_it=30).find(learn))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("out of memory")], ids=["Ctrl-C", "exception"])
@pytest.mark.parametrize("event", ["before_batch", "after_pred", "after_backward", "after_step", "after_batch"])
def test_a_search_that_is_stopped_changes_nothing(event, error):
    learn = learner(cbs=[At(event, raising(error))])
    with learn.removed_cbs([learn.at]):
        learn.fit(1, 1e-2)

    def search():
        with pytest.raises(type(error)):
            LRFinder(num_it=30).find(learn)
    assert_unchanged(learn, search)


def test_the_next_training_does_not_notice():
    def trained(disturb):
        learn = learner(cbs=[RepeatableEpochs(3)])
        learn.fit(1, 1e-2)
        disturb(learn)
        learn.fit(1, 1e-2)
        return learn
    plain, searched = trained(lambda learn: None), trained(lambda learn: LRFinder(num_it=30).find(learn))
    assert plain.recorder.values == searched.recorder.values
    assert same(dict(plain.model.state_dict()), dict(searched.model.state_dict()))
    assert searched.repeatable_epochs.done == 2


def test_torchs_own_optimisers():
    learn = learner(opt_func=lambda groups, **options: OptimWrapper(groups, torch.optim.AdamW, **options))
    learn.fit(1, 1e-2)
    before = deepcopy(learn.opt.state_dict())
    LRFinder(num_it=30).find(learn)
    assert same(before, learn.opt.state_dict())


def test_mixed_precision_is_off_after_an_interrupt():
    learn = learner(cbs=[ProcessorBf16(), At("after_pred", raising(KeyboardInterrupt()))])
    expected = learn.model.eval()(torch.ones(2, 6))
    with pytest.raises(KeyboardInterrupt):
        LRFinder(num_it=30).find(learn)
    assert torch.equal(learn.model.eval()(torch.ones(2, 6)), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # later ones use today's weights, not cached ones
        rounded = learn.model(torch.ones(2, 6))
    learn.model[1][1].weight.data.zero_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.equal(learn.model(torch.ones(2, 6)), rounded)


def test_two_searches_see_the_same():
    learn = learner()
    assert LRFinder(num_it=30).find(learn).losses == LRFinder(num_it=30).find(learn).losses


def test_no_file_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LRFinder(num_it=30).find(learner(folder=tmp_path))
    with pytest.raises(KeyboardInterrupt):
        LRFinder(num_it=30).find(learner(cbs=[At("after_batch", raising(KeyboardInterrupt()))], folder=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_two_processes_at_once(tmp_path):
    code = (f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\n"
            "import test_lr_finder as t; print(t.LRFinder(num_it=30).find(t.learner()).losses)")
    running = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, text=True,
                                stdout=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1] and len(said[0].split(",")) > 10
    assert list(tmp_path.iterdir()) == []


# After training

@pytest.mark.parametrize("frozen", [True, False])
def test_a_trained_network_is_flat_then_rises(frozen):
    learn = learner(n=480, bs=16)
    learn.fine_tune(4, 1e-2)
    learn.freeze() if frozen else learn.unfreeze()
    finder = LRFinder().find(learn)
    rates, losses = map(np.array, (finder.rates, finder.losses))
    flat = losses[(rates > 1e-6) & (rates < 1e-4)]
    assert np.ptp(flat) < 0.25 * flat.mean()
    assert losses[-1] > 2 * flat.mean() or losses[-1] > flat.mean() + 0.5


def test_a_pretrained_network_of_pictures(tmp_path):
    "Frozen after `vision_learner`, with batch normalisation on the move."
    set_seed(0, reproducible=True)
    dataset = TensorDataset(torch.randn(32, 3, 32, 32), torch.arange(32) % 2)
    dls = DataLoaders(DataLoader(dataset, bs=8, shuffle=True), DataLoader(dataset, bs=8))
    learn = vision_learner(dls, "papernet", n_out=2, normalize=False, loss_func=CrossEntropyLossFlat(), path=tmp_path)
    learn.remove_cb(learn.progress)
    assert_unchanged(learn, lambda: LRFinder(num_it=30).find(learn))
    assert not any(tmp_path.iterdir())


# What cannot be

def refused(call, *parts):
    with pytest.raises(LRFinderError) as error:
        call()
    message = str(error.value)
    assert isinstance(error.value, PetsError) and "\n" not in message
    assert all(part in message for part in parts), message


class NotANumber(Callback):
    "Makes the loss of one training step no number."
    def __init__(self, at, value=math.nan):
        self.at, self.value = at, value

    def after_loss(self):
        if self.training and self.train_iter == self.at:
            self.learn.loss = self.learn.loss_grad = self.loss_grad * self.value


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_loss_that_is_not_finite_ends_the_search(value):
    learn = learner(cbs=[NotANumber(12, value)])
    before = {name: tensor.clone() for name, tensor in learn.model.state_dict().items()}
    finder = LRFinder(num_it=60).find(learn)
    assert len(finder.losses) == len(finder.rates) == 12 and np.isfinite(finder.losses).all()
    assert same(before, dict(learn.model.state_dict()))
    refused(lambda: suggest(*finder.curve), "1 points", "16")


def test_no_finite_loss_at_all():
    learn = learner(cbs=[NotANumber(0)])
    refused(lambda: LRFinder().find(learn), "first rate", "NaN")


def test_an_empty_training_part():
    refused(lambda: LRFinder().find(learner(n=24, bs=32)), "no mini-batch", "bs")


@pytest.mark.parametrize("num_it", [-1, 0, 1, 5, 22])
def test_too_few_steps(num_it):
    refused(lambda: LRFinder(num_it=num_it), f"num_it={num_it}", "16")


def test_the_fewest_steps_give_just_enough_points():
    finder = LRFinder(num_it=23, stop_div=False).find(learner())
    assert len(finder.curve[0]) == FEWEST_POINTS and suggest(*finder.curve) > 0


@pytest.mark.parametrize("start, end", [(1, 1), (1, 1e-3), (0, 1), (-1e-3, 1), (1e-7, math.inf), (math.nan, 1)])
def test_rates_that_do_not_climb(start, end):
    refused(lambda: LRFinder(start, end), "start_lr < end_lr")


RATES = np.geomspace(1e-7, 10, 20)
LOSSES = np.linspace(3, 1, 20)


@pytest.mark.parametrize("how", SUGGESTIONS)
@pytest.mark.parametrize("n", [0, 1, 2, 3, 15])
def test_short_curves(how, n):
    refused(lambda: suggest(RATES[:n], LOSSES[:n], how), f"{n} points", "16")


@pytest.mark.parametrize("how", SUGGESTIONS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_losses_that_are_not_finite(how, value):
    refused(lambda: suggest(RATES, [*LOSSES[:7], value, *LOSSES[8:]], how), "loss at point 7", "cut")


def test_other_wrong_curves():
    refused(lambda: suggest(RATES, LOSSES[:18]), "20 rates and 18 losses")
    refused(lambda: suggest(RATES[::-1].copy(), LOSSES), "do not climb")
    refused(lambda: suggest([0, *RATES[1:]], LOSSES), "above 0")
    refused(lambda: suggest([*RATES[:5], math.nan, *RATES[6:]], LOSSES), "rate at point 5")
    refused(lambda: suggest(RATES, LOSSES, "vally"), "'vally'", "valley")


def test_stopping_can_be_switched_off():
    stopped = LRFinder(end_lr=1e4).find(learner())
    whole = LRFinder(end_lr=1e4, stop_div=False).find(learner())
    assert len(stopped.losses) < len(whole.losses) == 100
    assert stopped.losses[-1] > 4 * min(stopped.losses)
    assert whole.losses[:len(stopped.losses)] == stopped.losses


# Exercises

@pytest.fixture
def chapter():
    return EXERCISES.namespace(math=math, np=np, random=random, _falling=_falling)


def test_every_exercise_has_an_empty_start_and_a_solution():
    assert len(EXERCISES.starts) == len(EXERCISES.solutions) == len(EXERCISES.checks) >= 3
    assert all(re.fullmatch(r"\w+ = \.\.\.  # your turn", reader) for reader, _ in EXERCISES.pairs)


@pytest.mark.parametrize("start", EXERCISES.starts)
def test_start_does_not_pass(chapter, capsys, start):
    exec(start, chapter)
    assert capsys.readouterr().out.startswith("Not yet: put your function")


@pytest.mark.parametrize("solution", EXERCISES.solutions)
def test_solution_passes(chapter, capsys, solution):
    for _ in range(5):  # each draws another input
        exec(solution, chapter)
        assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize("check, answer, hint", [
    ("steps_needed", lambda start, end, most: math.log(end / start) / math.log(most), "whole steps"),
    ("steps_needed", lambda start, end, most: int(math.log(end / start) / math.log(most)), "one step fewer"),
    ("steps_needed", lambda start, end, most: math.log10(end / start), "powers of ten"),
    ("steps_needed", lambda start, end, most: 1e6 * end, "not added to"),
    ("steps_needed", lambda start, end, most: 3, "how often"),
    ("steps_needed", lambda start, end, most: None, "no number"),
    ("falls_and_rises", lambda losses: True, "Not yet"),
    ("falls_and_rises", lambda losses: losses[0] - min(losses) > losses[0] / 10, "Not yet"),
    ("falls_and_rises", lambda losses: losses[-1] > min(losses) < losses[0], "Not yet"),
    ("falls_and_rises", lambda losses: None, "Not yet"),
    ("falls_and_rises", lambda losses: 1 / 0, "it fails"),
    ("falls_and_rises", lambda losses: min(losses[0], losses[-1]) - min(losses) >= min(losses) / 10, "Not yet"),
    ("falls_and_rises", lambda losses: np.array([True, False]), "it fails"),
    ("longest_fall", lambda losses: sorted(losses, reverse=True), "in their order"),
    ("longest_fall", lambda losses: losses, "lower than the one before"),
    ("longest_fall", lambda losses: [5.0, 4.0, 3.0, 2.0] if len(losses) == 7 else [4.0, 1.0], "every new low"),
    ("longest_fall", lambda losses: losses[:1], "has a longer one, of 4"),
    ("longest_fall", lambda losses: None, "it fails"),
])
def test_a_wrong_answer_gets_a_hint(chapter, capsys, check, answer, hint):
    chapter[f"check_{check}"](answer)
    said = capsys.readouterr().out
    assert hint in said and not said.startswith("Correct")
