"""Run notebooks: for `make demo` (print the answers, keep the page) and `make notebooks` (store the outputs).

Stored notebooks are normalized, so that a run that changes no answer changes no line: no timestamps, no version of
the interpreter, no widgets, numbered cell ids, the kernel called python3.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

TIMEOUT = 300
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every notebook named on the command line; the exit code is 1 when a cell failed unexpectedly."""
    parser = argparse.ArgumentParser(description="Run notebooks.")
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--in-place", action="store_true", help="store the outputs in the notebook, normalized")
    parser.add_argument("--answers", action="store_true", help="print what the cells tagged `answer` show")
    parser.add_argument("--html", type=Path, help="write the notebook with its outputs as a page")
    options = parser.parse_args(arguments)
    return max(_run(path, options) for path in options.notebooks)


def _run(path: Path, options: argparse.Namespace) -> int:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # the kernel listens on the loopback device only
    )
    started = time.perf_counter()
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    if options.answers:
        print(*_answers(notebook), sep="\n")
    print(f"{path}: {len(notebook.cells)} cells in {time.perf_counter() - started:.1f} s")
    if options.html:
        _write_page(notebook, options.html)
        print(f"page: {options.html}")
    if options.in_place:
        normalize(notebook)
        nbformat.write(notebook, path)
    return 0


def _answers(notebook: Any) -> Iterator[str]:
    """The text of each cell tagged `answer`, under the heading above it."""
    heading = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = [line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")]
            heading = headings[-1] if headings else heading
        elif "answer" in cell.metadata.get("tags", ()):
            yield f"\n{heading}\n{'-' * len(heading)}"
            yield from (text.rstrip() for output in cell.outputs if (text := _text(output)))


def _text(output: Any) -> str:
    match output.output_type:
        case "stream":
            return str(output.text)
        case "error":
            return f"{output.ename}: {output.evalue}"
        case _:
            return str(output.data.get("text/plain", ""))


def _write_page(notebook: Any, path: Path) -> None:
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(embed_images=True).from_notebook_node(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def normalize(notebook: Any) -> None:
    """Remove from `notebook` what differs from run to run without anything having changed."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number:02}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
        for output in cell.get("outputs", ()):
            # A live view of a widget that is gone: whoever opens the notebook gets the HTML beside it instead.
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def _joined(outputs: Any) -> list[Any]:
    """The outputs with each stream in one piece: where the kernel cut it is chance."""
    joined: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].get("name") == output.name:
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    sys.exit(main())
