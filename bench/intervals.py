"How sure a mean over seeds is."
from statistics import mean, stdev

from scipy.stats import t as student


def interval(values):
    "[low, mean, high] of the mean's 95 % interval by Student's t; three times the same for a single value, which has none."
    half = student.ppf(0.975, len(values) - 1) * stdev(values) / len(values)**0.5 if len(values) > 1 else 0.0
    return [round(float(mean(values) + side), 4) for side in (-half, 0, half)]
