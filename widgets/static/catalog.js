// The catalog tree: WAI-ARIA tree pattern over a window of rows, so 5,000 tables are a few dozen elements.
const ROW = 26;
const STATUS = { idle: ["○", ""], connected: ["●", "ok"], down: ["✕", "bad"] };
const ACCESS = { clear: ["", "", ""], masked: ["◐", "masked", "warn"], denied: ["⊘", "denied", "bad"] };
const words = (query) => query.toLowerCase().split(/\s+/).filter(Boolean);

function subsequence(needle, text) {
  let at = 0;
  for (const char of needle) {
    at = text.indexOf(char, at) + 1;
    if (!at) return false;
  }
  return true;
}
const tableMatches = (list, [name, , , prose]) =>
  list.every((word) => subsequence(word, name.toLowerCase()) || prose.toLowerCase().includes(word));
const columnMatches = (list, [name]) => list.every((word) => name.toLowerCase().includes(word));

// Flatten what is open and matches into rows; each knows its place among its siblings, for aria-posinset.
function flatten(data, details, query, open) {
  const list = words(query), rows = [];
  let found = 0;
  const bySource = data.sources.map(() => []);
  data.tables.forEach((table, id) => {
    const hits = list.length ? (details.get(id)?.columns ?? []).filter((column) => columnMatches(list, column)) : [];
    if (!list.length || hits.length || tableMatches(list, table)) bySource[table[1]].push([id, table, hits]);
  });
  const sources = data.sources.map((source, id) => [id, source]).filter(([id]) => !list.length || bySource[id].length);
  sources.forEach(([id, source], at) => {
    const tables = bySource[id], key = `s${id}`, opened = list.length > 0 || open.has(key);
    found += tables.length;
    rows.push({ key, level: 1, kind: "source", source, opened, at, of: sources.length, size: tables.length });
    if (!opened) return;
    tables.forEach(([place, table, hits], nth) => {
      const mine = `t${place}`, wide = open.has(mine) || hits.length > 0;
      rows.push({ key: mine, level: 2, kind: "table", place, table, opened: wide, at: nth, of: tables.length, parent: key });
      if (!wide) return;
      const columns = open.has(mine) ? details.get(place)?.columns : hits;
      (columns ?? [["…", "reading", "clear", "", ""]]).forEach((column, n, all) => rows.push({
        key: `${mine}.${n}.${column[0]}`, level: 3, kind: "column", place, table, column, at: n, of: all.length, parent: mine,
      }));
    });
  });
  return { rows, found };
}

function rowBody(row) {
  const twist = h("span", { class: "tc-twist", "aria-hidden": "true" }, row.level === 3 ? "" : row.opened ? "▾" : "▸");
  if (row.kind === "source") {
    const [glyph, tone] = STATUS[row.source[2]];
    return [twist, h("b", { class: "tc-name" }, row.source[0]), badge(glyph, row.source[2], tone),
      h("span", { class: "t-dim" }, `${row.source[1]} · ${row.size.toLocaleString("en-US")}`)];
  }
  if (row.kind === "table") {
    return [twist, h("code", { class: "tc-name" }, row.table[0]),
      row.table[2].map(([glyph, text, tone]) => h("i", { class: `tc-mark t-${tone}`, title: text }, glyph))];
  }
  const [glyph, text, tone] = ACCESS[row.column[2]];
  return [twist, h("code", { class: "tc-name" }, row.column[0]),
    glyph && h("i", { class: `tc-mark t-${tone}`, title: row.column[3] ? `${text}: ${row.column[3]}` : text }, glyph),
    h("span", { class: "t-code t-dim tc-type" }, row.column[1])];
}

function label(row) {
  if (row.kind === "source") return `${row.source[0]}, ${row.source[1]}, ${row.source[2]}, ${plural(row.size, "table")}`;
  if (row.kind === "table") return [row.table[0], ...row.table[2].map((mark) => mark[1])].join(", ");
  return [row.column[0], row.column[1], ACCESS[row.column[2]][1], row.column[3]].filter(Boolean).join(", ");
}

const quoted = (name) => (/^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`);
function select(name, info) {
  const seen = info.columns.filter((column) => column[2] !== "denied").map((column) => quoted(column[0]));
  return `SELECT ${seen.join(", ") || "*"}\nFROM ${name.split(".").map(quoted).join(".")}\nLIMIT 100`;
}

function detailsPane(table, info, column) {
  const [name, , marks] = table;
  const out = [h("h3", { class: "tc-h" }, h("code", {}, column ? `${name}.${column[0]}` : name))];
  if (!info) return [...out, h("p", { class: "t-dim" }, "Reading …")];
  const fact = (term, value) => (value || value === 0 ? [h("dt", {}, term), h("dd", {}, value)] : []);
  if (column) {
    const [, type, access, mask, text] = column, [glyph, word, tone] = ACCESS[access];
    return [...out, h("dl", {}, fact("type", h("code", {}, type)),
      fact("for me", word ? badge(glyph, mask && access === "masked" ? `${word}: ${mask}` : word, tone) : "clear"),
      fact("about", text)), h("div", { class: "tc-actions" }, copyButton("Copy name", () => quoted(column[0])))];
  }
  const mine = marks.length ? h("span", { class: "tc-badges" }, marks.map((mark) => badge(...mark))) : "everything, in clear";
  out.push(h("dl", {}, fact("source", info.type), fact("for me", mine), fact("reason", info.reason),
    fact("rows", info.rows === null ? null : `about ${info.rows.toLocaleString("en-US")}`), fact("about", info.description),
    fact("tags", info.tags.length ? h("span", { class: "tc-badges" }, info.tags.map((tag) => badge("#", tag))) : null)));
  out.push(h("div", { class: "tc-actions" }, copyButton("Copy name", () => name.split(".").map(quoted).join(".")),
    marks.some((mark) => mark[1] === "denied") ? null : copyButton("Copy SELECT", () => select(name, info))));
  if (!info.columns.length) return [...out, h("p", { class: "t-dim" }, info.known ? "No columns." : "Columns have not been read yet.")];
  const line = ([col, type, access, mask, text]) => {
    const [glyph, word, tone] = ACCESS[access];
    return h("tr", { title: text || null }, h("td", {}, h("code", {}, col)), h("td", {}, h("code", { class: "t-dim" }, type)),
      h("td", {}, word ? badge(glyph, mask && access === "masked" ? `${word}: ${mask}` : word, tone) : h("span", { class: "t-dim" }, "clear")));
  };
  const head = ["column", "type", "for me"].map((text) => h("th", { scope: "col" }, text));
  return [...out, h("table", { class: "t-table" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, info.columns.slice(0, 200).map(line))),
    info.columns.length > 200 && h("p", { class: "t-dim" }, `… and ${plural(info.columns.length - 200, "more column")}, in the tree`)];
}

function render({ model, el }) {
  const uid = `tauro-catalog-${++views}`, root = frame(el, "tauro-catalog");
  const details = new Map(), asked = new Set(), open = new Set();
  let data, rows = [], active = 0, typed = "", typing, sending;

  const input = h("input", { type: "search", class: "tc-search", placeholder: "Search   /", "aria-label": "Search the catalog",
    "aria-controls": `${uid}-tree`, autocomplete: "off", spellcheck: "false" });
  const status = h("span", { class: "t-dim", role: "status" }), notice = h("p", { class: "t-notice", role: "alert" });
  const renew = h("button", { type: "button", class: "t-button", onclick: () => model.send({ kind: "refresh" }) }, "↻ Refresh");
  const spacer = h("div", { role: "presentation" }), pane = h("div", { class: "tc-pane", role: "region", "aria-label": "Details" });
  const tree = h("div", { id: `${uid}-tree`, class: "tc-tree", role: "tree", tabindex: "0", "aria-label": "Catalog" }, spacer);
  const who = h("span", { class: "t-dim" });
  root.append(h("div", { class: "t-head" }, h("p", { class: "t-title" }, "Catalog"), who, status),
    h("div", { class: "tc-bar" }, input, renew), notice, h("div", { class: "tc-body" }, tree, pane));

  const ask = (place) => {
    if (details.has(place) || asked.has(place)) return;
    asked.add(place);
    model.send({ kind: "details", table: place });
  };
  const nameOf = (row) => (row.kind === "column" ? `${row.table[0]}.${row.column[0]}` : row.kind === "table" ? row.table[0] : "");

  // Draw the rows in view, a few more, and always the active one: aria-activedescendant must exist.
  function paint() {
    const first = Math.max(0, Math.floor(tree.scrollTop / ROW) - 6), last = Math.min(rows.length, first + Math.ceil((tree.clientHeight || 380) / ROW) + 12);
    const window = new Set([active]);
    for (let at = first; at < last; at += 1) window.add(at);
    spacer.replaceChildren(...[...window].filter((at) => rows[at]).map((at) => {
      const row = rows[at];
      const node = h("div", { id: `${uid}-${at}`, role: "treeitem", class: `tc-row tc-l${row.level}`, "aria-level": row.level,
        "aria-setsize": row.of, "aria-posinset": row.at + 1, "aria-selected": String(at === active), "aria-label": label(row),
        "aria-expanded": row.level < 3 ? String(row.opened) : null, onclick: (event) => {
          go(at);
          if (row.level < 3 && (row.level === 1 || event.target.classList.contains("tc-twist"))) toggle(row);
        }, ondblclick: () => row.level === 2 && toggle(row) }, rowBody(row));
      node.style.top = `${at * ROW}px`;
      return node;
    }));
    if (rows[active]) tree.setAttribute("aria-activedescendant", `${uid}-${active}`);
    else tree.removeAttribute("aria-activedescendant");
  }
  function show() {
    const row = rows[active];
    if (!row || row.kind === "source") {
      pane.replaceChildren(h("p", { class: "t-dim" }, rows.length ? "Select a table to see its columns and what your policy does to them." : "Nothing matches."));
      return;
    }
    ask(row.place);
    pane.replaceChildren(...detailsPane(row.table, details.get(row.place), row.column).flat().filter(Boolean));
  }
  function go(at, quiet = false) {
    active = Math.max(0, Math.min(rows.length - 1, at));
    const top = active * ROW;
    if (top < tree.scrollTop) tree.scrollTop = top;
    else if (top + ROW > tree.scrollTop + tree.clientHeight) tree.scrollTop = top + ROW - tree.clientHeight;
    paint();
    show();
    if (quiet || !rows[active]) return;
    model.set("selected", nameOf(rows[active]));
    clearTimeout(sending);
    sending = setTimeout(() => model.save_changes(), 120);
  }
  function build(keep = rows[active]?.key) {
    const built = flatten(data, details, input.value, open);
    rows = built.rows;
    const total = data.tables.length.toLocaleString("en-US");
    status.textContent = input.value.trim() ? `${built.found.toLocaleString("en-US")} of ${total} tables match` : `${plural(data.sources.length, "source")}, ${plural(data.tables.length, "table")}`;
    spacer.style.height = `${rows.length * ROW}px`;
    go(Math.max(0, rows.findIndex((row) => row.key === keep)), true);
  }
  function toggle(row, wide = !row.opened) {
    if (wide) open.add(row.key);
    else open.delete(row.key);
    if (wide && row.kind === "table") ask(row.place);
    build(row.key);
  }
  function follow() {
    const name = model.get("selected"), place = data.tables.reduce((best, table, at) =>
      (name === table[0] || name.startsWith(`${table[0]}.`)) && (best < 0 || table[0].length > data.tables[best][0].length) ? at : best, -1);
    if (place < 0 || (rows[active] && nameOf(rows[active]) === name)) return;
    open.add(`s${data.tables[place][1]}`);
    if (name !== data.tables[place][0]) { open.add(`t${place}`); ask(place); }
    build();
    const at = rows.findIndex((row) => nameOf(row) === name);
    go(at < 0 ? rows.findIndex((row) => row.key === `t${place}`) : at, true);
  }
  function load() {
    data = model.get("_data");
    details.clear();
    asked.clear();
    (data.details ?? []).forEach((info, place) => details.set(place, info));
    if (!open.size) data.sources.forEach((_, id) => open.add(`s${id}`));
    who.replaceChildren("as ", h("b", {}, data.principal));
    build();
    follow();
  }
  const keys = {
    ArrowDown: () => go(active + 1), ArrowUp: () => go(active - 1), Home: () => go(0), End: () => go(rows.length - 1),
    PageDown: () => go(active + 10), PageUp: () => go(active - 10),
    ArrowRight: (row) => (row.level === 3 ? null : row.opened ? rows[active + 1]?.parent === row.key && go(active + 1) : toggle(row, true)),
    ArrowLeft: (row) => (row.level < 3 && row.opened && !input.value.trim() ? toggle(row, false) : row.parent && go(rows.findIndex((other) => other.key === row.parent))),
    Enter: (row) => row.level < 3 && toggle(row), " ": (row) => row.level < 3 && toggle(row),
    "*": (row) => { rows.filter((other) => other.level === row.level && other.parent === row.parent && other.level < 3).slice(0, 50).forEach((other) => { open.add(other.key); if (other.kind === "table") ask(other.place); }); build(); },
  };
  tree.addEventListener("keydown", (event) => {
    const row = rows[active];
    if (event.ctrlKey || event.metaKey || event.altKey || !row) return;
    if (keys[event.key]) keys[event.key](row);
    else if (event.key.length === 1 && event.key !== "/") {
      clearTimeout(typing);
      typed += event.key.toLowerCase();
      typing = setTimeout(() => { typed = ""; }, 600);
      const order = [...rows.keys()].map((n) => (n + active + (typed.length === 1 ? 1 : 0)) % rows.length);
      const hit = order.find((at) => label(rows[at]).toLowerCase().startsWith(typed));
      if (hit !== undefined) go(hit);
    } else return;
    event.preventDefault();
  });
  root.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target !== input) { event.preventDefault(); input.focus(); input.select(); }
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { input.value = ""; input.dispatchEvent(new Event("input")); }
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      tree.focus();
      go(Math.max(0, rows.findIndex((row) => row.level === 2)));
    }
  });
  input.addEventListener("input", () => {
    tree.scrollTop = 0;
    build();
    model.set("query", input.value);
    clearTimeout(sending);
    sending = setTimeout(() => model.save_changes(), 250);
  });
  let frameId = 0;
  tree.addEventListener("scroll", () => { cancelAnimationFrame(frameId); frameId = requestAnimationFrame(paint); });
  const warn = () => { notice.textContent = model.get("_notice"); notice.hidden = !notice.textContent; };
  const stop = listen(model, {
    "change:_data": load, "change:selected": follow, "change:_notice": warn,
    "change:query": () => { if (input.value !== model.get("query")) { input.value = model.get("query"); build(); } },
    "msg:custom": (message) => {
      if (message.kind !== "details") return;
      details.set(message.table, message.details);
      build();
    },
  });
  renew.hidden = !model.get("_refreshable");
  input.value = model.get("query");
  warn();
  load();
  const sized = new ResizeObserver(paint);
  sized.observe(tree);
  return () => { stop(); sized.disconnect(); clearTimeout(sending); clearTimeout(typing); };
}

export { flatten, subsequence, tableMatches, columnMatches };
export default { render };
