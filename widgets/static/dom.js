// Text reaches the page only as text nodes and attribute values: nothing here parses a value as HTML.
function h(tag, attrs = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attrs)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// JupyterLab's command mode listens in the capture phase and looks for the attribute; classic front ends bubble.
function frame(el, name) {
  el.replaceChildren();
  const root = h("section", { class: `tauro ${name}`, "data-lm-suppress-shortcuts": "true" });
  for (const type of ["keydown", "keyup", "keypress"]) root.addEventListener(type, (event) => event.stopPropagation());
  el.append(root);
  return root;
}

function badge(glyph, text, tone) {
  return h("span", { class: `t-badge ${tone ? `t-${tone}` : ""}` }, h("i", { "aria-hidden": "true" }, glyph), text);
}

function copyButton(label, text) {
  const button = h("button", { type: "button", class: "t-button", onclick: async () => {
    const done = await navigator.clipboard?.writeText(text()).then(() => true, () => false);
    button.textContent = done ? "Copied ✓" : "Cannot copy here";
    setTimeout(() => { button.textContent = label; }, 1400);
  } }, label);
  return button;
}

function listen(model, handlers) {
  for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
  return () => { for (const [event, handler] of Object.entries(handlers)) model.off(event, handler); };
}

const plural = (n, noun) => `${n.toLocaleString("en-US")} ${noun}${n === 1 ? "" : "s"}`;
let views = 0;
