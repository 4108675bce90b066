"""What PaperNet is worth: the error after the same epochs on the same pictures, from its weights and from random ones.

    python bench/papernet_effect.py [--seeds 5]

One frozen and two unfrozen epochs from PaperNet, three unfrozen ones from random weights (a frozen random body would stay
random), on the default PaperPets (20 training pictures a breed) and on a set with 10. A seed decides head, order and augmentation.
"""
import argparse
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from intervals import interval
from machine import about, save
from petbreeds.baseline import fit_stages, pet_learner, pet_stages
from petbreeds.blocks import pet_dls
from petbreeds.layout import get_pets
from petbreeds.paperpets import make_paperpets
from petbreeds.papernet import papernet_info
from petbreeds.blocks import profile_for

import torch

WEIGHTS = "papernet", "none"
EPOCHS = 3


def quiet(line): pass


def one_run(path, weights, seed):
    "Error after three epochs, and which breeds were taken for which."
    dls = pet_dls(path, profile_for("paper"), seed=seed, say=quiet)
    learn = pet_learner(dls, weights=weights, say=quiet)
    frozen = 1 if weights == "papernet" else 0
    with learn.no_bar(), learn.no_logging():
        fit_stages(learn, pet_stages(learn.profile, epochs=EPOCHS - frozen, freeze_epochs=frozen))
        predictions, labels = learn.get_preds()
    told = predictions.argmax(1)
    wrong = Counter((dls.vocab[true], dls.vocab[guess]) for true, guess in zip(labels.tolist(), told.tolist()) if true != guess)
    return float((told != labels).float().mean()), wrong, len(dls.train_ds), len(labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    net = papernet_info()
    result = about() | {"torch": torch.__version__, "papernet": net["sha256"][:12], "arch": net["arch"], "epochs": EPOCHS, "seeds": args.seeds, "results": []}
    with TemporaryDirectory() as folder:
        sets = {"default": get_pets("paper"), "10 a breed": make_paperpets(Path(folder) / "paperpets-ten", per_breed=20, seed=1)}
        for name, path in sets.items():
            for weights in WEIGHTS:
                runs = [one_run(path, weights, seed) for seed in range(args.seeds)]
                errors, wrong = [run[0] for run in runs], sum((run[1] for run in runs), Counter())
                row = dict(pictures=name, weights=weights, training=runs[0][2], validation=runs[0][3], error=interval(errors),
                           errors=[round(e, 4) for e in errors], most_confused=[[*pair, n] for pair, n in wrong.most_common(8)])
                result["results"].append(row)
                print(row, flush=True)
                save("papernet_effect", result)


if __name__ == "__main__":
    main()
