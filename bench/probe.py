"Frozen features of pictures, and how well a linear layer on them tells breeds apart."
import numpy as np
import torch
from PIL import ImageOps
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from petbreeds.pictures import open_picture


def squares(files, size):
    "Pictures as an array, uint8, shape (n, size, size, 3), the middle of each."
    return np.stack([np.asarray(ImageOps.fit(open_picture(file, size), (size, size))) for file in files])


def features_of(body, pictures, mean, std, bs=64):
    "The average of the body's last feature maps for each picture, shape (n, features)."
    mean, std = (torch.as_tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    body.eval()
    with torch.inference_mode():
        batches = (torch.from_numpy(pictures[i:i + bs]).permute(0, 3, 1, 2) / 255 for i in range(0, len(pictures), bs))
        parts = [body.forward_features((batch - mean) / std).mean((2, 3)) for batch in batches]
    return torch.cat(parts).numpy()


def colour_histograms(pictures, bins=6):
    "The share of pixels in each of bins x bins x bins colours, square root taken, shape (n, bins^3)."
    cells = (pictures.astype(int) * bins // 256) @ [bins * bins, bins, 1]
    return np.sqrt([np.bincount(cell.ravel(), minlength=bins**3) / cell.size for cell in cells])


def probe_hits(features, labels, train, test):
    "Which of `test` a linear classifier gets right that was fitted on `train`, with the best of eleven penalties."
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(0, 5, 11)))
    return probe.fit(features[train], labels[train]).predict(features[test]) == labels[test]


def probe_error(features, labels, train, test):
    "The share of `test` that such a classifier gets wrong."
    return float(1 - probe_hits(features, labels, train, test).mean())
