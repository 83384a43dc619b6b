// Home: add a share, and all shares, newest first, kept up to date.

import { api, withQuery } from "../api.js";
import { fill, h, icon, toast } from "../dom.js";
import { money, platformName, relative, title } from "../format.js";
import { watch } from "../live.js";
import { addForm } from "../parts/add.js";
import { STATE_NAMES, badge, empty, failure, loading, stateName } from "../parts/states.js";
import { replaceQuery } from "../router.js";

const PAGE = 50;
const EMPTY_PAGES = 5;
const KINDS = [["url", "Links"], ["upload", "Files"], ["text", "Texts"]];

export function render({ query, signal }) {
  const shares = new Map();
  let next = null;
  const list = h("ul", { class: "shares", "aria-label": "Shares", hidden: true });
  const under = h("div", {}, loading("Reading shares"));
  const state = select("Filter by state", STATE_NAMES.filter((name) => name !== "skipped").map((name) => [name, stateName(name)]), query.get("state"));
  const kind = select("Filter by kind", KINDS, query.get("kind"));
  const filters = () => ({ state: state.value, kind: kind.value });
  const lists = (share) => (!state.value || share.state === state.value) && (!kind.value || share.source_kind === kind.value);

  function draw() {
    const newest = [...shares.values()].sort((a, b) => b.created_at.localeCompare(a.created_at));
    list.hidden = newest.length === 0;
    for (const [index, share] of newest.entries()) place(list, index, share);
    while (list.children.length > newest.length) list.lastChild.remove();
    if (next) fill(under, h("button", { class: "button wide", onclick: more }, "Show older shares"));
    else fill(under, newest.length ? null : nothing());
  }

  function nothing() {
    if (state.value || kind.value) return empty("Nothing matches", "No share is of this state and kind.");
    return empty("No shares yet", "Add a link, a file or a text above. What comes of it appears here.");
  }

  async function read(cursor) {
    const page = (from) => api(withQuery("/shares", { ...filters(), limit: PAGE, cursor: from }), { signal });
    let answer = await page(cursor);
    // With a filter a page may be empty though older ones are not.
    for (let tries = 0; tries < EMPTY_PAGES && answer.next && answer.shares.length === 0; tries += 1) answer = await page(answer.next);
    if (!cursor) forgetGone(shares, answer);
    for (const share of answer.shares) shares.set(share.share_id, share);
    // The first page again, for what is new, does not lose the place that somebody has paged to.
    if (cursor || !next) next = answer.next;
    draw();
  }

  async function more() {
    await tell(() => read(next));
  }

  async function tell(work) {
    try {
      await work();
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 401) fill(under, failure(error, begin));
    }
  }

  async function begin() {
    next = null;
    shares.clear();
    list.replaceChildren();
    list.hidden = true;
    fill(under, loading("Reading shares"));
    await tell(() => read(null));
  }

  function filter() {
    replaceQuery(filters());
    begin();
  }
  state.addEventListener("change", filter);
  kind.addEventListener("change", filter);

  const share = (row) => {
    if (row === null) return;
    if (lists(row)) shares.set(row.share_id, row);
    else shares.delete(row.share_id);
    draw();
  };
  const gone = (row) => {
    if (row) shares.delete(row.share_id);
    draw();
  };
  const added = (accepted, { alone = true } = {}) => {
    if (signal.aborted) toast("The share was added.");
    else if (alone) location.hash = `#/shares/${accepted.share_id}`;
    else tell(() => read(null));
  };
  begin().then(() => signal.aborted || watch("/events", { events: { share, gone }, poll: () => read(null), pollMs: 5000, refresh: true, signal }));
  const node = h("div", { class: "stack wide-gap" },
    h("div", { class: "stack" }, h("h1", {}, "Shares"), addForm({ added, signal })),
    h("section", { class: "stack", "aria-label": "All shares" },
      h("div", { class: "row wrap" }, h("h2", { class: "grow" }, "All shares"), state, kind), list, under));
  return { title: "Shares", node };
}

/** Take those out that the first page should have and has not. */
function forgetGone(shares, { shares: page, next }) {
  const there = new Set(page.map((share) => share.share_id));
  const oldest = page.at(-1)?.created_at;
  for (const [id, share] of shares) {
    if (!there.has(id) && (!next || (oldest && share.created_at >= oldest))) shares.delete(id);
  }
}

function select(label, options, chosen) {
  const choice = h("select", { "aria-label": label, class: "small" }, h("option", { value: "" }, `${label.replace("Filter by", "Any")}`),
    options.map(([value, name]) => h("option", { value, selected: value === chosen }, name)));
  return choice;
}

/** Put a share at its place; a row that says the same already stays, with its focus. */
function place(list, index, share) {
  const facts = JSON.stringify(share);
  const there = list.children[index];
  if (there?.dataset.facts === facts) return;
  const moved = [...list.children].find((row) => row.dataset.id === share.share_id);
  const row = moved?.dataset.facts === facts ? moved : shareRow(share);
  row.dataset.facts = facts;
  row.dataset.id = share.share_id;
  const focused = moved?.contains(document.activeElement);
  if (moved && moved !== row) moved.remove();
  list.insertBefore(row, list.children[index] ?? null);
  if (focused) row.querySelector("a").focus({ preventScroll: true });
}

function shareRow(share) {
  const picture = { text: "text", upload: "audio", url: "link" }[share.source_kind] ?? "link";
  const from = share.source_kind === "url" ? platformName(share.platform) : { upload: "File", text: "Text" }[share.source_kind];
  const about = [from, relative(share.created_at)];
  if (share.cost_micro_usd) about.push(money(share.cost_micro_usd));
  return h("li", {}, h("a", { class: "share-row", href: `#/shares/${encodeURIComponent(share.share_id)}` },
    h("span", { class: "picture" }, icon(picture)),
    h("span", { class: "what" }, h("span", { class: "title" }, title(share)), h("span", { class: "muted" }, about.join(" · "))),
    h("span", { class: "dots", role: "img", "aria-label": share.stages.map((s) => `${s.stage} ${stateName(s.state).toLowerCase()}`).join(", ") },
      share.stages.map((s) => h("span", { class: `dot is-${s.state}` }))),
    badge(share.state)));
}
