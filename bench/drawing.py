"""How fast PaperPets are drawn, and in how much memory.

    python bench/drawing.py [--pictures 300]

First pictures of 250x188, written with trimap and head box as in a set, by one and by two processes side by side;
then the default set, whole, with a worker a core. All in fresh processes. Written to bench/results/drawing.json.
"""
import argparse
import subprocess
import sys
import tempfile
import threading
import time

import psutil
from table import save

from petbreeds.experiments import machine

# Draws every `step`th of `count` entries, from `first` on; prints the seconds on the clock and on the processor,
# without its own start.
ONE_SIZE = """
import sys, time
from pathlib import Path
from petbreeds.paperpets import dataset
dest, first, step, count = Path(sys.argv[1]), *map(int, sys.argv[2:])
dataset.picture_size = lambda *_: (250, 188)
dataset._claim(dest, {})
dataset.draw_pet("pug")
start, busy = time.perf_counter(), time.process_time()
for entry in dataset.set_entries(1 + count // 37)[first:count:step]:
    dataset.draw_entry(dest, entry, 0, 0.5)
print(time.perf_counter() - start, time.process_time() - busy)
"""
WHOLE_SET = "import sys; from petbreeds.paperpets import make_paperpets; make_paperpets(sys.argv[1])"


def start(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def watch(processes, peak):
    "Note in `peak` the most bytes that processes and their children hold at one time, looked at every 20 ms."
    roots = [psutil.Process(process.pid) for process in processes]
    while any(process.poll() is None for process in processes):
        held = 0
        for root in roots:
            try:
                held += sum(one.memory_info().rss for one in [root, *root.children(recursive=True)])
            except psutil.NoSuchProcess:
                pass
        peak[0] = max(peak[0], held)
        time.sleep(0.02)


def finish(processes):
    "What each process prints, and the peak of their memory in MB."
    peak = [0]
    watcher = threading.Thread(target=watch, args=(processes, peak))
    watcher.start()
    printed = [process.communicate()[0] for process in processes]
    watcher.join()
    if any(process.returncode for process in processes):
        sys.exit("bench/drawing.py: a process that draws has failed")
    return printed, round(peak[0] / 1e6)


def one_size(workers, pictures):
    "Pictures a second at 250x188: by the clock, and as many as there would be if each process had a core for itself."
    with tempfile.TemporaryDirectory() as folder:
        printed, memory = finish([start(ONE_SIZE, folder, k, workers, pictures) for k in range(workers)])
    clock, busy = zip(*(map(float, line.split()) for line in printed))
    return {"images_per_second": round(pictures / max(clock), 1), "undisturbed": round(pictures / max(busy), 1),
            "memory_mb": memory}


def whole_set():
    "The default set, from an empty folder to the manifest, the start of all processes included."
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        _, memory = finish([start(WHOLE_SET, folder)])
        return {"seconds": round(time.perf_counter() - begin, 1), "memory_mb": memory}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=300)
    pictures = parser.parse_args().pictures
    at_start = machine()
    results = {}
    for workers in (1, 2):
        results[f"250x188, {workers} at a time"] = one_size(workers, pictures)
    results["default set"] = whole_set()
    save("drawing", at_start, {"pictures": pictures}, results)
    for name, result in results.items():
        print(f"{name:22}", ", ".join(f"{unit.replace('_', ' ')} {value}" for unit, value in result.items()))
    print("budgets: 80 images per second with two at a time, 500 MB")


if __name__ == "__main__":
    main()
