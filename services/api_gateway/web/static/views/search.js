// Search: passages by meaning and by words, each opening its share at its moment; and shares like one.

import { api, withQuery } from "../api.js";
import { fill, h, icon, outside, say } from "../dom.js";
import { clock, highlighted, percent, title } from "../format.js";
import { empty, failure, loading } from "../parts/states.js";
import { replaceQuery } from "../router.js";
import { accounts, session } from "../session.js";

const PAGE = 10;
const CHOICES = {
  mode: ["How", [["", "Meaning and words"], ["semantic", "Meaning"], ["keyword", "Words"]]],
  kind: ["Shared as", [["", "Anything"], ["url", "Link"], ["upload", "File"], ["text", "Text"]]],
  content_type: ["Content", [["", "Any content"], ["video", "Video"], ["audio", "Audio"], ["article", "Article"], ["post", "Post"], ["tweet", "Tweet"], ["caption", "Caption"], ["comment", "Comment"]]],
};

export function render({ query, signal }) {
  const like = query.get("like");
  const q = h("input", { type: "search", id: "q", name: "q", "aria-label": "Search what was said and written", placeholder: "What was said or written", maxlength: "1000", value: query.get("q") ?? "" });
  const selects = Object.fromEntries(Object.entries(CHOICES).map(([name, [label, options]]) => [name, choice(name, label, options, query.get(name) ?? "")]));
  const since = h("input", { type: "date", id: "since", value: query.get("since") ?? "" });
  const language = h("input", { type: "text", id: "language", size: "6", placeholder: "en", maxlength: "20", pattern: "[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*", value: query.get("language") ?? "" });
  const results = h("div", { class: "stack", "aria-live": "off" });
  const values = () => ({ q: q.value.trim(), ...Object.fromEntries(Object.entries(selects).map(([name, one]) => [name, one.value])), since: since.value, language: language.value.trim() });
  let running = new AbortController();

  function filters() {
    const { since: from, ...rest } = values();
    return { ...rest, since: from ? `${from}T00:00:00Z` : "" };
  }

  async function run(cursor, into) {
    running.abort();
    running = new AbortController();
    const both = AbortSignal.any([signal, running.signal]);
    const { q: text, mode, ...narrow } = filters();
    const path = like
      ? withQuery(`/shares/${encodeURIComponent(like)}/similar`, { ...narrow, limit: 20 })
      : withQuery("/search", { q: text, mode, ...narrow, limit: PAGE, cursor, account: accounts().includes("default") ? "" : session.account });
    if (!cursor) fill(results, loading("Searching"));
    try {
      show(await api(path, { signal: both }), into, cursor);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) return;
      fill(cursor ? into : results, failure(error, () => run(cursor, into)));
    }
  }

  function show(answer, into, cursor) {
    const list = h("ol", { class: "hits" }, answer.hits.map((hit) => h("li", { class: "card" }, hitNode(hit))));
    const more = h("div", {});
    if (answer.next) fill(more, h("button", { class: "button wide", type: "button", onclick: () => run(answer.next, more) }, "More passages"));
    const note = answer.note ? h("p", { class: "note" }, answer.note) : null;
    if (cursor) {
      into.replaceWith(list, more);
      list.querySelector("a")?.focus();
    } else if (answer.hits.length === 0) fill(results, note, empty("Nothing found", "Try fewer or other words, or fewer filters."));
    else fill(results, note, list, more);
    say(answer.hits.length === 1 ? "One passage found." : `${answer.hits.length} passages found.`);
  }

  function submit(event) {
    event?.preventDefault();
    if (like) {
      location.hash = withQuery("#/search", values());
      return;
    }
    replaceQuery(values());
    if (values().q && form.reportValidity()) run(null);
    else if (!values().q) fill(results, hint());
  }

  const form = h("form", { class: "card stack", role: "search", onsubmit: submit, onchange: (event) => event.target !== q && values().q && submit() },
    h("div", { class: "row" }, h("div", { class: "grow" }, q), h("button", { class: "button primary", type: "submit" }, icon("search"), "Search")),
    h("div", { class: "row wrap filters" }, Object.values(selects).map((one) => one.field),
      field("since", "Shared since", since), field("language", "Language", language)));
  if (like) run(null);
  else if (q.value) submit();
  else fill(results, hint());
  const heading = like ? "More like this" : "Search";
  const back = like ? h("a", { class: "back", href: `#/shares/${encodeURIComponent(like)}` }, icon("back"), "Back to the share") : null;
  return { title: heading, node: h("div", { class: "stack" }, back, h("h1", {}, heading), form, results) };
}

function hint() {
  return empty("Find a moment", 'Ask in your own words, or look for "an exact phrase" and -without a word.');
}

function field(id, label, input) {
  return h("div", { class: "field" }, h("label", { for: id }, label), input);
}

function choice(name, label, options, chosen) {
  const select = h("select", { id: name }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
  select.field = field(name, label, select);
  return select;
}

function hitNode(hit) {
  const moment = hit.moment?.start_ms ?? hit.start_ms;
  const hasMoment = moment !== null && moment !== undefined;
  const id = encodeURIComponent(hit.share_id);
  const target = hasMoment ? `#/shares/${id}?t=${moment}` : `#/shares/${id}`;
  const passage = highlighted(hit.text, hit.highlights).map((part) => (part.hit ? h("mark", {}, part.text) : part.text));
  const facts = [hit.matched_by.map((by) => (by === "semantic" ? "by meaning" : "by words")).join(" and ")];
  if (hit.similarity !== null && hit.similarity !== undefined) facts.push(`similarity ${percent(Math.max(0, hit.similarity))}`);
  return [
    h("div", { class: "row wrap hit-head" }, h("a", { class: "title grow", href: target }, title(hit)),
      hasMoment ? h("a", { class: "button small", href: target, "aria-label": `Play from ${clock(moment)}` }, icon("play"), clock(moment)) : null),
    h("p", { class: "passage" }, passage),
    hit.moment && hit.moment.text.trim() !== hit.text.trim() ? h("blockquote", {}, hit.moment.text) : null,
    h("div", { class: "row wrap muted" }, h("span", { class: "grow" }, facts.join(" · ")),
      hit.moment?.url ? outside(hit.moment.url, "At its source") : null,
      h("a", { href: `#/search?like=${id}` }, "More like this")),
  ];
}
