"""The quickstart in JupyterLab, in a real browser: every cell runs, panels are alive, both themes are legible.

`TAURO_SCREENSHOTS=folder` keeps pictures for people to look at.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tauro_nb.demo import build

pytestmark = [pytest.mark.ui, pytest.mark.slow]

NOTEBOOK = "01_quickstart.ipynb"
RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
# The notebook as the front end has it, and whether the kernel is done with it.
STATE = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  const model = panel?.content?.model?.sharedModel;
  if (!model) return { cells: [], kernel: "none" };
  const cells = model.toJSON().cells.filter((cell) => cell.cell_type === "code");
  return { cells, kernel: panel.sessionContext.session?.kernel?.status ?? "none" };
}"""
# The lowest contrast of a text in a panel with what is behind it.
CONTRAST = """(root) => {
  const rgb = (text) => {
    const parts = (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
    return text.startsWith("color(") ? [...parts.slice(0, 3).map((v) => v * 255), ...parts.slice(3)] : parts;
  };
  const linear = (v) => (v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const lum = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((v, i) => v * a + under[i] * (1 - a));
  let worst = [99, ""];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const el = node.parentElement;
    if (!node.data.trim() || !el.checkVisibility()) continue;
    if (["STYLE", "title", "desc", "OPTION", "I"].includes(el.tagName) || el.closest("button:disabled")) continue;
    const chain = [];
    for (let at = el; at; at = at.parentElement) chain.unshift(rgb(getComputedStyle(at).backgroundColor));
    const back = chain.reduce((under, color) => over(color, under), [255, 255, 255]);
    const style = getComputedStyle(el), ink = over(rgb(el.closest("svg") ? style.fill : style.color), back);
    const [a, b] = [lum(ink), lum(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst[0]) worst = [ratio, node.data.trim()];
  }
  return worst;
}"""
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the quickstart without its outputs, with the demo data where it looks for them."""
    folder = tmp_path_factory.mktemp("lab")
    build(folder / ".demo")
    notebook = nbformat.read(root / "notebooks" / NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks" / NOTEBOOK)
    for name, values in SETTINGS.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    return folder


def environment(root: Path, folder: Path) -> dict[str, str]:
    """Nothing of the user's Jupyter; the checkout importable, and its Ibis entry point there when not installed."""
    path = [str(root)]
    if not entry_points(group="ibis.backends", name="tauro"):
        info = folder / "site" / "tauro_nb-0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tauro_nb\nVersion: 0\n")
        (info / "entry_points.txt").write_text("[ibis.backends]\ntauro = tauro_nb.interop.ibis\n")
        path.append(str(info.parent))
    own = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    own["IPYTHONDIR"] = str(folder / "ipython")
    return {**os.environ, **own, "PYTHONPATH": os.pathsep.join(path)}


@pytest.fixture(scope="module")
def server(root: Path, folder: Path) -> Iterator[str]:
    """Address of a JupyterLab on the loopback device."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder}", f"--LabApp.user_settings_dir={folder}/settings",
        f"--LabApp.workspaces_dir={folder}/workspaces", "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    log = folder / "server.log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options], env=environment(root, folder), stdout=out, stderr=out
        ) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, process, log)
            yield address
        finally:
            process.terminate()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/api", timeout=2):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.3)
    raise TimeoutError(log.read_text())


@pytest.fixture(scope="module")
def page(browser: Any, server: str) -> Iterator[Any]:
    """The quickstart, run from top to bottom."""
    tab = browser.new_page(viewport={"width": 1280, "height": 1000})
    trouble: list[str] = []
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.goto(f"{server}/lab/tree/notebooks/{NOTEBOOK}")
    tab.wait_for_function("window.jupyterapp !== undefined", timeout=120_000)
    tab.evaluate("window.jupyterapp.restored.then(() => true)")
    tab.wait_for_function(f"({STATE})().kernel === 'idle'", timeout=120_000)
    tab.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    tab.evaluate(RUN_ALL)
    tab.wait_for_function(f"({STATE})().cells.every((cell) => cell.execution_count)", timeout=120_000)
    tab.wait_for_function(f"({STATE})().kernel === 'idle'", timeout=120_000)
    tab.wait_for_timeout(500)
    yield tab
    tab.close()
    assert trouble == []


def plain(cell: dict[str, Any]) -> list[str]:
    """What a cell shows, as text; an error as its name and message."""
    texts = []
    for output in cell["outputs"]:
        kind = output["output_type"]
        if kind == "error":
            texts.append(f"{output['ename']}: {output['evalue']}")
        else:
            text = output["text"] if kind == "stream" else output["data"]["text/plain"]
            texts.append(text if isinstance(text, str) else "".join(text))
    return texts


def test_it_shows_what_the_committed_notebook_shows(page: Any, root: Path) -> None:
    committed = nbformat.read(root / "notebooks" / NOTEBOOK, as_version=4)
    expected = [cell for cell in committed.cells if cell.cell_type == "code"]
    cells = page.evaluate(STATE)["cells"]
    assert len(cells) == len(expected)
    for cell, known in zip(cells, expected, strict=True):
        failed = any(output["output_type"] == "error" for output in cell["outputs"])
        assert failed == ("raises-exception" in known.metadata.get("tags", ())), cell["source"]
        assert "".join(plain(cell)) == "".join(plain(known)), cell["source"]


def panel_of(page: Any, source: str) -> Any:
    """The output of the cell with this source."""
    sources = [cell["source"] for cell in page.evaluate(STATE)["cells"]]
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(sources.index(source))
    cell.scroll_into_view_if_needed()
    return cell.locator(".jp-OutputArea-output").first


def test_the_catalog_panel_is_alive(page: Any) -> None:
    panel = panel_of(page, "%vcatalog")
    search = panel.get_by_role("searchbox").or_(panel.get_by_role("combobox")).or_(panel.locator("input")).first
    tree = panel.get_by_role("tree")
    assert tree.get_by_role("treeitem").count() > 3
    search.fill("ssn")
    page.wait_for_timeout(400)
    assert "customers" in tree.inner_text()
    assert "events" not in tree.inner_text()
    search.fill("")
    page.wait_for_timeout(400)
    assert "events" in tree.inner_text()
    tree.get_by_text("customers", exact=True).click()
    page.wait_for_timeout(400)
    assert "masked" in panel.inner_text()
    assert "Everyone who has an account" in panel.inner_text()


def test_the_lineage_panel_moves_on_when_clicked(page: Any) -> None:
    panel = panel_of(page, "%vlineage revenue")
    before = panel.locator("svg").first.text_content()
    assert "revenue" in before
    panel.locator("svg").get_by_text("orders", exact=True).first.click()
    page.wait_for_timeout(800)
    assert "countries" in before
    assert "countries" not in panel.locator("svg").first.text_content()
    panel.get_by_role("button", name="Back").click()
    page.wait_for_timeout(500)
    assert "countries" in panel.locator("svg").first.text_content()


SHOTS = {"catalog": "%vcatalog", "lineage": "%vlineage revenue", "plan": "%vplan", "describe": "%vdescribe customers"}


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_panels_are_legible(page: Any, theme: str) -> None:
    page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    page.wait_for_function("(theme) => document.body.dataset.jpThemeName === theme", arg=theme, timeout=20_000)
    page.wait_for_timeout(400)
    keep = os.environ.get("TAURO_SCREENSHOTS")
    for name, source in SHOTS.items():
        panel = panel_of(page, source)
        assert panel.is_visible()
        if keep:
            Path(keep).mkdir(parents=True, exist_ok=True)
            panel.screenshot(path=Path(keep) / f"lab-{name}-{theme.rsplit(maxsplit=1)[-1].lower()}.png")
        ratio, text = panel.evaluate(CONTRAST)
        assert ratio >= 4, f"{name}: {text!r} has a contrast of {ratio:.1f}"
    if keep:
        panel_of(page, "%vconnect catalog --principal ana").evaluate("(el) => el.scrollIntoView()")
        page.wait_for_timeout(300)
        page.screenshot(path=Path(keep) / f"lab-quickstart-{theme.rsplit(maxsplit=1)[-1].lower()}.png")
