"""Runs a notebook from its first cell and keeps what it shows; an error in a cell is an error here."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook with what its cells show, without what differs from run to run."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if "outputs" in cell:  # what goes to stderr speaks of the machine
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
        if "execution_count" in cell:
            cell.execution_count = None
        for output in cell.get("outputs", ()):
            output.pop("execution_count", None)
            if output.output_type == "execute_result":
                output.execution_count = None
    return notebook


if __name__ == "__main__":
    (place,) = map(Path, sys.argv[1:])
    nbformat.write(run(place), place)
