"Writes what bench/results/ holds about startup and drawing into bench/README.md, between its two markers."
import json
from pathlib import Path

HERE = Path(__file__).parent
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def machine(result):
    return (f"{result['date']}, {result['cores']} cores of {result['processor']}, load before {result['load_before']}, "
            f"Python {result['python']}, NumPy {result['numpy']}, Pillow {result['pillow']}.")


def startup(result):
    rows = [f"| `{name}` | {row['seconds']:.3f} | {row['slowest']:.3f} | {row['over_empty']:.3f} | {row['budget']} |"
            for name, row in result["results"].items()]
    return ["## Startup", "", machine(result), "", "| process | median (s) | slowest (s) | over an empty process (s) | budget (s) |",
            "|---|---|---|---|---|", *rows]


def drawing(result):
    rows = [f"| {name} | {row.get('images_per_second', '')} | {row.get('undisturbed', '')} | {row.get('seconds', '')} | {row['memory_mb']} |"
            for name, row in result["results"].items()]
    return ["## Drawing", "", machine(result), "", "| what | images/s | undisturbed | s | memory (MB) |", "|---|---|---|---|---|", *rows,
            "| budget | 80 with two | | 40 for the default set | 500 |"]


def main():
    found = [(make, HERE / f"results/{make.__name__}.json") for make in (startup, drawing)]
    tables = [line for make, file in found if file.exists() for line in [*make(json.loads(file.read_text())), ""]]
    readme = HERE / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text("\n".join([before + BEGIN, "", *tables, END]) + after)


if __name__ == "__main__":
    main()
