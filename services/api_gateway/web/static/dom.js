// Elements from data. Text is only ever put in as text, so that nothing a stranger wrote becomes markup.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  add: "M12 5v14M5 12h14",
  alert: "M12 8v5M12 16.500v.5M10.300 4.300 2.800 17.500A2 2 0 0 0 4.500 20.500h15a2 2 0 0 0 1.700-3L13.700 4.300a2 2 0 0 0-3.400 0Z",
  audio: "M4 10v4M8 6v12M12 9v6M16 4v16M20 10v4",
  back: "M15 5l-7 7 7 7",
  cancelled: "M6 6l12 12M18 6 6 18",
  clock: "M12 7v5l3 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  done: "M5 12.500l4.500 4.500L19 7",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  empty: "M3 8c3-2.700 6-2.700 9 0s6 2.700 9 0M3 13c3-2.700 6-2.700 9 0s6 2.700 9 0M3 18c3-2.700 6-2.700 9 0s6 2.700 9 0",
  failed: "M12 7v6M12 16.500v.5M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.700-5.700l-1.300 1.300M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.700 5.700l1.300-1.300",
  parked: "M9 6v12M15 6v12",
  play: "M8 5.500v13l10.500-6.500Z",
  queued: "M12 12h.01M6 12h.01M18 12h.01",
  retry: "M4 12a8 8 0 1 1 2.300 5.600M4 18v-5h5",
  running: "M12 3a9 9 0 1 1-9 9",
  search: "M16 16l4.500 4.500M18 11a7 7 0 1 1-14 0 7 7 0 0 1 14 0Z",
  skipped: "M5 6l7 6-7 6ZM13 6l7 6-7 6Z",
  text: "M5 6h14M5 11h14M5 16h9",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  upload: "M12 16V5M7 9l5-5 5 5M5 20h14",
  waiting: "M12 7v5l3 2M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
};

/** An element. `on…` are listeners, false and null attributes are left out; children are nodes, texts, or lists. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Put children behind those that are there; null and false are left out. */
export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** Let `children` be all that an element has. */
export function fill(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

/** A picture without meaning of its own: what it shows is always said in words as well. */
export function icon(name, extra = "") {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["viewBox", "0 0 24 24"], ["aria-hidden", "true"], ["class", `icon ${extra}`.trim()]]) {
    svg.setAttribute(key, value);
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.queued);
  svg.append(path);
  return svg;
}

/** A link to another site where the address is one (http, https), else its text alone. */
export function outside(address, text = address) {
  let scheme = "";
  try {
    scheme = new URL(address).protocol;
  } catch {
    return h("span", {}, text); // not an address: nothing to follow
  }
  if (scheme !== "http:" && scheme !== "https:") return h("span", {}, text);
  return h("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, text);
}

/** Say something to those who do not see it. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** Say something for a moment to everybody. */
export function toast(text, kind = "good") {
  const note = h("div", { class: `toast ${kind}` }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), 6000);
}

/**
 * Build what depends on `facts` again only when they have changed, so that playing goes on; what had the focus has it
 * again, by its name. `draw.instead(...)` shows something else until the next facts.
 */
export function region(element, build) {
  let before;
  const draw = (...facts) => {
    const now = JSON.stringify(facts);
    if (now === before) return;
    before = now;
    const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    fill(element, build(...facts));
    if (focused) [...element.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === focused)?.focus();
  };
  draw.instead = (...children) => {
    before = undefined;
    fill(element, ...children);
  };
  return draw;
}
