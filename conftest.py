"Tests of notebooks: nbval takes a cell without an execution count for one that never ran, but clean notebooks store none."


def pytest_collection_modifyitems(items):
    for item in items:
        cell = getattr(item, "cell", None)
        if cell is not None and cell.get("execution_count") is None:
            cell["execution_count"] = 1
