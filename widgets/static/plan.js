// The page comes from Python, escaped by construction; this makes the table a tree grid and the SQL copyable.
function render({ model, el }) {
  const root = frame(el, "tauro-plan");
  root.innerHTML = model.get("_page");
  for (const block of root.querySelectorAll("pre")) {
    const sql = block.textContent;
    block.before(h("div", { class: "tp-copy" }, copyButton("Copy", () => sql)));
  }
  const grid = root.querySelector("table.tp-grid"), rows = [...grid.querySelectorAll("tbody tr")];
  grid.setAttribute("role", "treegrid");
  grid.setAttribute("aria-label", "Steps of the plan");
  const parts = rows.length - 1;
  let opened = true;
  const visible = () => rows.filter((row) => !row.hidden);
  rows.forEach((row, at) => {
    row.setAttribute("role", "row");
    row.setAttribute("aria-setsize", at ? parts : 1);
    row.setAttribute("aria-posinset", at || 1);
    for (const cell of row.cells) cell.setAttribute("role", "gridcell");
    row.addEventListener("click", () => pick(row));
  });
  function fold(wide) {
    opened = wide;
    rows.slice(1).forEach((row) => { row.hidden = !wide; });
    if (parts) rows[0].setAttribute("aria-expanded", String(wide));
  }
  function mark(row) {
    for (const other of rows) {
      other.setAttribute("aria-selected", String(other === row));
      other.setAttribute("tabindex", other === (row ?? rows[0]) ? "0" : "-1");
    }
    for (const block of root.querySelectorAll("pre[data-step]")) block.classList.toggle("tp-on", block.dataset.step === row?.dataset.step);
  }
  function pick(row) {
    mark(row);
    row.focus();
    model.set("selected", row.dataset.step);
    model.save_changes();
  }
  grid.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr"), shown = visible(), at = shown.indexOf(row);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to !== undefined) pick(shown[Math.max(0, Math.min(shown.length - 1, to))]);
    else if (event.key === "ArrowLeft") at === 0 ? fold(false) : pick(rows[0]);
    else if (event.key === "ArrowRight" && at === 0) opened ? parts && pick(rows[1]) : fold(true);
    else if (event.key === "Enter" && row.dataset.step) {
      const block = [...root.querySelectorAll("pre[data-step]")].find((pre) => pre.dataset.step === row.dataset.step);
      if (block) { block.closest("details").open = true; block.scrollIntoView({ block: "nearest" }); }
    } else return;
    event.preventDefault();
  });
  const follow = () => mark(rows.find((row) => row.dataset.step === model.get("selected")));
  fold(true);
  follow();
  return listen(model, { "change:selected": follow });
}

export default { render };
