"What every result says about where and when it was taken."
import datetime
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path


def processor():
    "The processor's name as Linux gives it, else what Python knows."
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def about():
    "Date, processor, cores, how busy the machine was at the start, and versions."
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"date": datetime.date.today().isoformat(), "processor": processor(), "cores": cores, "load_before": load,
            "python": platform.python_version(), "numpy": version("numpy"), "pillow": version("Pillow")}


def save(name, result):
    "Write a result to bench/results/."
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
