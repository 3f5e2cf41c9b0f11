// The picture comes from Python, escaped by construction; this adds focus, keys and the toolbar.
const FARTHEST = 8;

function render({ model, el }) {
  const root = frame(el, "tauro-lineage"), trail = [];
  const title = h("p", { class: "t-title" }), extent = h("span", { class: "t-dim", role: "status" });
  const notice = h("p", { class: "t-notice", role: "alert" }), stage = h("div", {});
  const back = h("button", { type: "button", class: "t-button", onclick: () => trail.length && refocus(trail.pop(), false) }, "← Back");
  const all = h("button", { type: "button", class: "t-button", onclick: () => refocus(null) }, "Overview");
  const name = h("input", { type: "search", class: "tg-focus", placeholder: "Focus on   /", "aria-label": "Focus on a table",
    autocomplete: "off", spellcheck: "false" });
  const depth = h("input", { type: "range", min: 1, max: FARTHEST, "aria-label": "Steps from the focus" }), steps = h("span", { class: "tg-steps" });
  const way = h("select", { class: "t-button", "aria-label": "Direction" },
    ["both", "upstream", "downstream"].map((value) => h("option", { value }, { both: "both ways", upstream: "← upstream", downstream: "downstream →" }[value])));
  root.append(h("div", { class: "t-head" }, title, extent),
    h("div", { class: "tg-bar" }, back, all, name, way, h("label", { class: "tg-depth" }, "depth", depth, steps)), notice, stage);

  function remember() {
    const now = model.get("focus");
    if (trail.at(-1) !== now) trail.push(now);
    trail.splice(0, trail.length - 50);
  }
  let pending = false;
  function refocus(target, keep = true) {
    if (keep) remember();
    pending = true;
    model.send({ kind: "focus", name: target });
  }
  function choose(node) {
    remember();
    pending = true;
    model.send({ kind: "node", node: Number(node.dataset.node) });
  }
  const middle = (node) => { const box = node.getBBox(); return [box.x + box.width / 2, box.y + box.height / 2]; };
  // Arrows go to the nearest node that lies that way; sideways counts double, so columns are followed.
  function towards(node, [dx, dy]) {
    const [x, y] = middle(node);
    let best = null, least = Infinity;
    for (const other of stage.querySelectorAll("[data-node]")) {
      const [ox, oy] = middle(other), ahead = (ox - x) * dx + (oy - y) * dy, aside = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx);
      if (other !== node && ahead > 1 && ahead + 2 * aside < least) [best, least] = [other, ahead + 2 * aside];
    }
    best?.focus();
  }
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function draw() {
    stage.innerHTML = model.get("_picture");
    const picture = stage.querySelector("svg[role=img]"), nodes = [...stage.querySelectorAll("[data-node]")];
    picture?.setAttribute("role", "group");
    const home = nodes.find((node) => node.classList.contains("tl-focus")) ?? nodes[0];
    for (const node of nodes) {
      node.setAttribute("role", "button");
      node.setAttribute("tabindex", node === home ? "0" : "-1");
      node.setAttribute("aria-label", node.querySelector("title").textContent);
      node.addEventListener("focus", () => { for (const other of nodes) other.setAttribute("tabindex", other === node ? "0" : "-1"); });
      node.addEventListener("click", () => choose(node));
      node.addEventListener("keydown", (event) => {
        if (ARROWS[event.key]) towards(node, ARROWS[event.key]);
        else if (event.key === "Enter" || event.key === " ") choose(node);
        else return;
        event.preventDefault();
      });
    }
    if (pending) { home?.focus({ preventScroll: true }); pending = false; }
    home?.scrollIntoView?.({ block: "nearest", inline: "center" });
    const focus = model.get("focus"), shown = model.get("_names").length, total = model.get("_total");
    title.textContent = focus === null ? "Lineage" : `Lineage of ${focus}`;
    extent.textContent = shown === total ? plural(total, "node") : `${shown} of ${plural(total, "node")}`;
    back.disabled = !trail.length;
    all.disabled = focus === null;
    depth.value = String(model.get("depth"));
    steps.textContent = String(model.get("depth"));
    way.value = model.get("direction");
  }
  depth.addEventListener("change", () => { model.set("depth", Number(depth.value)); model.save_changes(); });
  way.addEventListener("change", () => { model.set("direction", way.value); model.save_changes(); });
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !name.value.trim()) return;
    refocus(name.value.trim());
    name.value = "";
  });
  root.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== name) { event.preventDefault(); name.focus(); }
    if (event.key === "Backspace" && event.target !== name && trail.length) { event.preventDefault(); back.click(); }
  });
  const warn = () => {
    notice.textContent = model.get("_notice");
    notice.hidden = !notice.textContent;
    if (notice.textContent) { trail.pop(); pending = false; back.disabled = !trail.length; }
  };
  // One update may change several values: draw once, after all of them have arrived.
  let queued = false;
  const later = () => {
    if (queued) return;
    queued = true;
    queueMicrotask(() => { queued = false; draw(); });
  };
  warn();
  draw();
  return listen(model, { "change:_picture": later, "change:focus": later, "change:depth": later, "change:direction": later, "change:_names": later, "change:_notice": warn });
}

export default { render };
