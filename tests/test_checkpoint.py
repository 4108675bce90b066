"Training that is stopped and goes on, searched before, or asked in between: the weights are the same to the last bit."

import pytest
import torch
from fastai.callback.all import Callback
from fastai.data.all import DataLoaders, set_seed
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import error_rate
from torch import nn

from petbreeds.checkpoint import Checkpoint, CheckpointError, RepeatableEpochs, pack_optimizer
from petbreeds.files import PetsError

ABOUT = {"lr": 1e-2, "arch": "points", "sizes": (1, 2)}


class Stop(Callback):
    "Ctrl-C after some epochs."

    order = 90

    def __init__(self, epochs):
        self.left = epochs

    def after_epoch(self):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def split(model):
    return [list(model[:2].parameters()), list(model[2:].parameters())]


def points(folder, cbs=(), seed=0, valid=32):
    "A learner for points in a plane, with a body, a head and some dropout."
    rows = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    items = [(row, int(row.sum() > 0)) for row in rows]
    set_seed(seed)
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
    dls = DataLoaders.from_dsets(items, items[:valid], bs=16, num_workers=0, device="cpu")
    return Learner(
        dls,
        model,
        loss_func=CrossEntropyLossFlat(),
        metrics=error_rate,
        path=folder,
        splitter=split,
        cbs=[RepeatableEpochs(3), *cbs],
    )


def fit(learn, stages=((False, 4),), done=0):
    "Stages of training, as (frozen, epochs)."
    with learn.no_bar(), learn.no_logging():
        for frozen, epochs in stages:
            learn.freeze() if frozen else learn.unfreeze()
            if done < epochs:
                learn.fit_one_cycle(epochs, 1e-2, start_epoch=done)
            done = max(0, done - epochs)
    return learn


def same(first, second):
    states = first.model.state_dict(), second.model.state_dict()
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


# ---------------------------------------------------------------- random numbers


def test_a_search_before_training_changes_nothing(tmp_path):
    plain = fit(points(tmp_path))
    searched = points(tmp_path)
    with searched.no_bar(), searched.no_logging():
        searched.lr_find(num_it=30, show_plot=False)
    assert searched.repeatable_epochs.done == 0
    fit(searched)
    assert same(plain, searched) and plain.recorder.values == searched.recorder.values
    one, two = pack_optimizer(plain.opt)[0], pack_optimizer(searched.opt)[0]
    assert one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def test_a_search_between_trainings_changes_nothing(tmp_path):
    plain, searched = fit(points(tmp_path)), fit(points(tmp_path))
    with searched.no_bar(), searched.no_logging():
        searched.lr_find(num_it=10, show_plot=False)
    assert plain.repeatable_epochs.done == searched.repeatable_epochs.done == 4
    assert same(plain, searched)


def test_a_search_that_is_interrupted_leaves_the_callback_at_work(tmp_path):
    class Interrupt(Callback):
        def after_batch(self):
            raise KeyboardInterrupt

    learn = points(tmp_path)
    with learn.no_bar(), learn.no_logging(), pytest.raises(KeyboardInterrupt), learn.added_cbs([Interrupt()]):
        learn.lr_find(num_it=10, show_plot=False)
    fit(learn, ((False, 1),))
    assert learn.repeatable_epochs.done == 1


def test_predictions_between_trainings_change_nothing(tmp_path):
    plain, asked = fit(fit(points(tmp_path))), fit(points(tmp_path))
    with asked.no_bar(), asked.no_logging():
        asked.get_preds(ds_idx=0)
        asked.validate()
    assert same(plain, fit(asked))


def test_seeds_matter(tmp_path):
    one, other = points(tmp_path), points(tmp_path)
    other.repeatable_epochs.seed = 4
    assert not same(fit(one), fit(other))


# ---------------------------------------------------------------- stopped and continued


@pytest.mark.parametrize("stages", [((False, 4),), ((True, 2), (False, 3))])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_stopped_and_continued_is_the_same(tmp_path, stages, after):
    whole = fit(points(tmp_path), stages)
    file, told = tmp_path / "checkpoint.safetensors", []
    with pytest.raises(KeyboardInterrupt):
        fit(points(tmp_path, [Checkpoint(file, ABOUT, told.append), Stop(after)]), stages)
    assert [row["epoch"] for row in told] == list(range(1, after + 1))
    keep = Checkpoint(file, ABOUT, told.append)
    assert keep.done == after and keep.rows == told
    learn = points(tmp_path, [keep], seed=9)
    keep.load(learn)
    fit(learn, stages, done=keep.done)
    assert same(whole, learn) and learn.repeatable_epochs.done == sum(epochs for _, epochs in stages)
    assert keep.rows == told and [row["epoch"] for row in told] == list(range(1, 1 + learn.repeatable_epochs.done))
    assert [row["stage"] for row in told] == [
        ["all layers", "frozen"][frozen] for frozen, n in stages for _ in range(n)
    ]
    kept = [[row["train_loss"], row["valid_loss"], row["error_rate"]] for row in told[-stages[-1][1] :]]
    assert kept[-1] == list(whole.recorder.values[-1])
    assert keep.seconds > 0 and Checkpoint(file, ABOUT).seconds == keep.seconds


def test_all_epochs_done_gives_the_weights_back(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    first = fit(points(tmp_path, [Checkpoint(file, ABOUT)]))
    keep = Checkpoint(file, ABOUT)
    second = fit(points(tmp_path, [keep], seed=9), done=0 if not keep.done else 4)
    keep.load(second)
    assert keep.done == 4 and same(first, second)


def test_the_callback_takes_up_the_file_by_itself(tmp_path):
    file, whole = tmp_path / "checkpoint.safetensors", fit(points(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        fit(points(tmp_path, [Checkpoint(file, ABOUT), Stop(2)]))
    keep = Checkpoint(file, ABOUT)
    assert same(whole, fit(points(tmp_path, [keep], seed=9), done=keep.done))


def test_searches_and_predictions_write_nothing(tmp_path):
    keep = Checkpoint(tmp_path / "checkpoint.safetensors", ABOUT)
    learn = points(tmp_path, [keep])
    with learn.no_bar(), learn.no_logging():
        learn.lr_find(num_it=30, show_plot=False)
        learn.get_preds()
        learn.validate()
    assert keep.rows == [] and not keep.file.exists()


def test_no_validation_pictures_no_validation_columns(tmp_path):
    keep = Checkpoint(tmp_path / "checkpoint.safetensors", ABOUT)
    learn = points(tmp_path, [keep])
    learn.dls.loaders[1].get_idxs = list
    fit(learn, ((False, 1),))
    assert keep.rows[0].keys() == {"epoch", "stage", "train_loss"}


# ---------------------------------------------------------------- files that cannot be used


@pytest.fixture
def stored(tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    fit(points(tmp_path, [Checkpoint(file, ABOUT)]), ((False, 1),))
    return file


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text and all(part in text for part in parts), text


def test_another_training_is_refused(stored):
    before = stored.read_bytes()
    for about, part in (
        ({**ABOUT, "lr": 1.0}, "lr is 0.01 there and 1.0 here"),
        ({**ABOUT, "more": 1}, "more is None there and 1 here"),
        ({"lr": 1e-2, "sizes": [1, 2]}, "arch is points there and None here"),
    ):
        with pytest.raises(PetsError) as error:
            Checkpoint(stored, about)
        one_line(error, part, "give another folder", "checkpoint.safetensors")
    assert Checkpoint(stored, {**ABOUT, "sizes": [1, 2]}).done == 1  # JSON knows no tuples
    assert stored.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"nothing", -10, "other"])
def test_damaged(stored, content):
    from safetensors.torch import save

    if content == "other":
        stored.write_bytes(save({"weight": torch.ones(2)}))
    else:
        stored.write_bytes(stored.read_bytes()[:content] if isinstance(content, int) else content)
    with pytest.raises(CheckpointError) as error:
        Checkpoint(stored, ABOUT)
    one_line(error, "cannot be continued", "delete it to start again")


def test_of_another_network(stored, tmp_path):
    learn = points(tmp_path)
    learn.model = nn.Linear(2, 2)
    with pytest.raises(CheckpointError) as error:
        Checkpoint(stored, ABOUT).load(learn)
    one_line(error, "cannot be continued")


def test_a_disk_that_is_full_stops_the_training_and_keeps_the_reason(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("petbreeds.checkpoint.write_whole", full)
    keep = Checkpoint(tmp_path / "checkpoint.safetensors", ABOUT)
    fit(points(tmp_path, [keep]))
    assert keep.done == 1 and "No space left" in str(keep.problem) and isinstance(keep.problem, CheckpointError)
