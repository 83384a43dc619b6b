// Dead letters: what a stage gave up on, with its evidence, and what an admin decides about it.

import { api, withQuery } from "../api.js";
import { fill, h, icon, toast } from "../dom.js";
import { bytes, moment, relative, words } from "../format.js";
import { ask } from "./dialog.js";
import { stageName } from "./stages.js";
import { empty, failure, loading } from "./states.js";

const PAGE = 50;
const STATES = [["open", "Undecided"], ["redriven", "Redriven"], ["discarded", "Discarded"], ["", "All"]];

export function deadLetters(signal) {
  const list = h("div", { class: "stack" }, loading("Reading dead letters"));
  const stage = h("select", { "aria-label": "Stage", class: "small", onchange: () => begin() }, h("option", { value: "" }, "Any stage"));
  const state = h("select", { "aria-label": "State", class: "small", onchange: () => begin() }, STATES.map(([value, name]) => h("option", { value }, name)));
  const many = h("div", { class: "row wrap" });

  async function read(cursor) {
    return api(withQuery("/dead", { stage: stage.value, state: state.value, limit: PAGE, cursor }), { signal });
  }

  async function begin() {
    try {
      const answer = await read(null);
      offer(answer.letters);
      show(answer, list);
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) return;
      fill(list, failure(error, begin));
    }
  }

  function offer(letters) {
    const seen = new Set([...[...stage.options].map((option) => option.value), ...letters.map((letter) => letter.stage)]);
    for (const name of seen) {
      if (name && ![...stage.options].some((option) => option.value === name)) stage.append(h("option", { value: name }, stageName(name)));
    }
    const one = stage.value;
    const button = (verb, kind) => h("button", { class: `button small ${kind}`, type: "button", onclick: () => decideMany(verb, one, begin) }, `${verb} all of ${stageName(one)}`);
    fill(many, one && letters.some((letter) => letter.state === "open") ? [button("Redrive", ""), button("Discard", "quiet-danger")] : null);
  }

  function show(answer, into) {
    const rows = answer.letters.map((letter) => letterNode(letter, begin));
    const more = h("div", {});
    if (answer.next) fill(more, h("button", { class: "button wide", type: "button", onclick: async () => older(more, answer.next) }, "Older dead letters"));
    fill(into, answer.letters.length ? [rows, more] : empty("No dead letters", state.value === "open" ? "No stage has given up on anything that is still undecided." : "There is none like that."));
  }

  async function older(more, cursor) {
    try {
      show(await read(cursor), more);
    } catch (error) {
      if (error.name !== "AbortError") fill(more, failure(error, () => older(more, cursor)));
    }
  }

  begin();
  return [h("div", { class: "row wrap" }, h("h2", { class: "grow" }, "Dead letters"), stage, state), many, list];
}

/** Count first, then ask, then go on page by page until nothing is left. */
async function decideMany(verb, stage, done) {
  const path = `/dead/${verb.toLowerCase()}`;
  try {
    const { matched } = await api(path, { method: "POST", body: { stage, dry_run: true } });
    const body = h("p", {}, `${matched} undecided dead letters of ${stageName(stage)} are meant. ${verb === "Redrive" ? "Their stage tries each again; what was paid for is not paid again." : "They are kept, and nothing is done about them."}`);
    const act = async () => {
      let [cursor, changed, refused] = [null, 0, 0];
      do {
        const answer = await api(path, { method: "POST", body: cursor ? { stage, cursor } : { stage } });
        changed += answer.changed;
        refused += answer.refused.length;
        cursor = answer.next;
      } while (cursor);
      toast(`${verb}: ${changed} done${refused ? `, ${refused} refused` : ""}.`, refused ? "bad" : "good");
    };
    if (await ask({ heading: `${verb} ${matched} dead letters?`, body, confirm: `${verb} them`, danger: verb === "Discard", act })) done();
  } catch (error) {
    toast(error.message, "bad");
  }
}

function letterNode(letter, changed) {
  const evidence = h("div", { class: "stack" });
  let read = false;
  const box = h("details", { class: "card letter" },
    h("summary", {}, h("span", { class: "grow" }, h("strong", {}, `${stageName(letter.stage)}: ${letter.reason}`),
      h("span", { class: "muted" }, `${letter.error} · ${letter.attempts} ${letter.attempts === 1 ? "try" : "tries"} · ${relative(letter.died_at)}`)),
      h("span", { class: `badge is-${{ open: "failed", redriven: "running", discarded: "cancelled" }[letter.state]}` }, words(letter.state === "open" ? "undecided" : letter.state))),
    evidence);
  box.addEventListener("toggle", async () => {
    if (!box.open || read) return;
    read = true;
    fill(evidence, loading("Reading the evidence"));
    try {
      fill(evidence, evidenceNodes(await api(`/dead/${encodeURIComponent(letter.id)}`), changed));
    } catch (error) {
      read = false;
      fill(evidence, failure(error));
    }
  });
  return box;
}

function evidenceNodes(letter, changed) {
  const facts = [["Died", moment(letter.died_at)], ["Service", letter.service], ["Lies at", letter.place], ["Came from", letter.origin], ["Size", bytes(letter.size_bytes)],
    ["Decided", letter.changed_at ? `${moment(letter.changed_at)} by ${letter.changed_by}` : null]];
  const decide = (verb, kind, picture) => h("button", { class: `button small ${kind}`, type: "button", onclick: () => decideOne(letter, verb, changed) }, icon(picture), verb);
  return [
    h("dl", { class: "facts" }, facts.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      letter.share_id ? h("div", {}, h("dt", {}, "Share"), h("dd", {}, h("a", { href: `#/shares/${encodeURIComponent(letter.share_id)}` }, letter.share_id))) : null),
    letter.event ? [h("h3", {}, "Message"), code(JSON.stringify(letter.event, null, 2), "Message")] : null,
    letter.unreadable ? h("p", { class: "note" }, letter.unreadable) : null,
    letter.stack ? [h("h3", {}, "Stack"), code(letter.stack, "Stack")] : null,
    h("div", { class: "row wrap" }, letter.state !== "redriven" ? decide("Redrive", "primary", "retry") : null, letter.state === "open" ? decide("Discard", "quiet-danger", "trash") : null),
  ];
}

function code(text, label) {
  return h("pre", { tabindex: "0", role: "region", "aria-label": label }, text);
}

async function decideOne(letter, verb, changed) {
  try {
    await api(`/dead/${encodeURIComponent(letter.id)}/${verb.toLowerCase()}`, { method: "POST" });
    toast(verb === "Redrive" ? "The message is tried again." : "The message was discarded.");
    changed();
  } catch (error) {
    toast(error.message, "bad");
  }
}
