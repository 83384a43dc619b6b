// The part of the address behind # says what is shown. Each view ends by its AbortSignal when the next one comes.

import { fill, h, icon } from "./dom.js";

/** What an address says: "#/shares/7?t=900" is ["shares", "7"] with the query t=900. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  return { parts, query: new URLSearchParams(query) };
}

/** Change what the address says about the present view without showing it anew. */
export function replaceQuery(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  const [path] = location.hash.split("?", 1);
  history.replaceState(null, "", given.length ? `${path}?${new URLSearchParams(given)}` : path || "#/");
}

/**
 * Show views in `outlet`. `find(parts)` gives { name, load } of one, where `load` resolves to a module with
 * `render({ parts, query, signal })`, which gives { title, node }. Returns a function that shows the present one again.
 */
export function start(outlet, find, shown) {
  let ending = new AbortController();
  let first = true;

  async function show() {
    ending.abort();
    ending = new AbortController();
    const { signal } = ending;
    let address;
    try {
      address = parse(location.hash);
    } catch {
      address = { parts: ["?"], query: new URLSearchParams() }; // a % that stands for nothing
    }
    const found = find(address.parts);
    let view;
    try {
      const module = await found.load();
      if (signal.aborted) return;
      view = module.render({ ...address, signal });
    } catch (error) {
      if (signal.aborted) return;
      view = broken(error);
    }
    fill(outlet, view.node);
    document.title = view.title ? `${view.title} – Millrace` : "Millrace";
    shown(found.name);
    if (!first) focusHeading(outlet);
    first = false;
  }

  addEventListener("hashchange", () => {
    if (location.hash.startsWith("#/") || location.hash === "") show();
  });
  return show;
}

function focusHeading(outlet) {
  scrollTo(0, 0);
  const heading = outlet.querySelector("h1") ?? outlet;
  heading.setAttribute("tabindex", "-1");
  heading.focus({ preventScroll: true });
}

function broken(error) {
  const again = h("button", { class: "button", onclick: () => location.reload() }, icon("retry"), "Load again");
  const why = h("p", {}, `This part of the page could not be shown: ${error.message}`);
  return { title: "Not shown", node: h("div", { class: "state bad" }, h("h1", {}, "Not shown"), why, again) };
}
