"""How long `import petbreeds` and `petbreeds --help` take, as whole processes.

    python bench/startup.py [--runs 15]

Each run is paired with an empty `python -c pass` just before it. Written to bench/results/startup.json.
"""
import argparse
import statistics
import subprocess
import sys
import time

from table import save

from petbreeds.experiments import machine

HELP = "import sys; sys.argv = ['petbreeds', '--help']; from petbreeds.cli import main; main()"
COMMANDS = {"import petbreeds": ["-c", "import petbreeds"],
            "petbreeds --help": ["-c", HELP],
            "import petbreeds.paperpets": ["-c", "import petbreeds.paperpets"]}
BUDGETS = {"import petbreeds": 0.3, "petbreeds --help": 0.5, "import petbreeds.paperpets": 0.3}


def seconds(arguments):
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(arguments, runs):
    "Median seconds of the whole process, and of what it takes more than an empty one."
    seconds(arguments)  # files into the cache of the system, bytecode written
    pairs = [(seconds(["-c", "pass"]), seconds(arguments)) for _ in range(runs)]
    return {"seconds": round(statistics.median(full for _, full in pairs), 3),
            "slowest": round(max(full for _, full in pairs), 3),
            "over_empty": round(statistics.median(full - empty for empty, full in pairs), 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    at_start = machine()
    results = {}
    for name, arguments in COMMANDS.items():
        results[name] = measure(arguments, runs) | {"budget": BUDGETS[name]}
        print(f"{name:28} {results[name]['seconds']:.3f} s, {results[name]['over_empty']:.3f} s over an empty process;"
              f" budget {BUDGETS[name]} s")
    save("startup", at_start, {"runs": runs}, results)


if __name__ == "__main__":
    main()
