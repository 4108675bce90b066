"""Three thousand folders of pictures as people, programs and accidents leave them, through `pets_table` and `audit`.

    python bench/fuzz_folders.py [--first 0] [--count 3000] [--dry-run]

Each folder is made from its seed by `tests/odd_folders.py`. A table of its pictures is right, or one line that says
what is wrong; no picture may be passed over in silence. Processes, seeds and results are those of `fuzz_pictures.py`;
stored in bench/results/fuzz_folders.json. Root lays its right to read everything down while it looks.
"""
import sys
import tempfile

from fuzz_pictures import main


def folders(first, count):
    "A row for each folder."
    from odd_folders import judged
    with tempfile.TemporaryDirectory() as parent:
        for seed in range(first, first + count):
            yield judged(parent, seed)


if __name__ == "__main__":
    import odd_folders  # noqa: F401  once, for all pieces
    sys.exit(main(folders, "fuzz_folders", 3000, __doc__))
