// One share: how far it is, what was said, what it comes to, and what it cost.

import { api } from "../api.js";
import { append, fill, h, icon, outside, region, say, toast } from "../dom.js";
import { clock, money, percent, relative, title, words } from "../format.js";
import { watch } from "../live.js";
import { ask } from "../parts/dialog.js";
import { player } from "../parts/player.js";
import { receipts } from "../parts/receipts.js";
import { changes, stageList } from "../parts/stages.js";
import { badge, empty, failure, isActive, loading } from "../parts/states.js";
import { transcript } from "../parts/transcript.js";
import { replaceQuery } from "../router.js";

const REDO = ["failed", "cancelled"];

export function render({ parts, query, signal }) {
  const id = parts[1];
  const path = `/shares/${encodeURIComponent(id)}`;
  const asked = Number.parseInt(query.get("t") ?? "", 10);
  const start = Number.isNaN(asked) ? null : Math.max(0, asked);
  const node = h("div", { class: "stack wide-gap" }, h("h1", { class: "visually-hidden" }, "Share"), loading("Reading the share"));
  let shown = null;

  function gone() {
    fill(node, h("h1", { class: "visually-hidden" }, "Share"),
      empty("This share is not there", "It never was, or is not yours.", h("a", { class: "button", href: "#/" }, icon("back"), "All shares")));
    shown = null;
  }

  function update(share) {
    if (share === null || signal.aborted) return;
    if (shown === null) {
      shown = page(share, { path, start, signal, refresh: poll });
      const focused = node.contains(document.activeElement);
      fill(node, shown.nodes);
      if (focused) shown.focus();
      document.title = `${title(share)} – Millrace`;
    }
    shown.update(share);
  }

  async function poll() {
    try {
      update(await api(path, { signal }));
    } catch (error) {
      if (error.status === 404) gone();
      throw error;
    }
  }

  async function begin() {
    try {
      await poll();
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401 || error.status === 404) return;
      fill(node, h("h1", { class: "visually-hidden" }, "Share"), failure(error, begin));
      return;
    }
    let stop = () => {};
    const pollUntilOver = async () => {
      await poll();
      if (shown && !isActive(shown.state())) stop(); // asked again only when somebody retries
    };
    const changed = (state) => shown?.live(state);
    shown.follow = () => {
      stop();
      stop = watch(`${path}/events`, { events: { share: update, gone: () => (stop(), gone()) }, poll: pollUntilOver, changed, signal });
    };
    shown.follow();
  }
  begin();
  return { title: "Share", node };
}

/** The parts of the page, each of which is made again only when what it shows has changed. */
function page(first, { path, start, signal, refresh }) {
  let share = first;
  const heading = h("h1", { tabindex: "-1" });
  const about = h("div", { class: "row wrap muted about" });
  const live = h("span", { class: "live", hidden: true });
  const stages = h("div", {});
  const columns = h("div", { class: "columns" });
  const recording = h("div", {});
  const said = h("div", { class: "stack" });
  const summary = h("div", { class: "stack" });
  const bill = h("div", {});
  let sound = null;
  let lines = null;

  const acts = actions({ path, refresh: async () => (await refresh(), made.follow()), share: () => share });
  const drawHead = region(about, (state, cost) => [badge(state), source(share),
    h("span", {}, `Added ${relative(share.created_at)}`), h("span", {}, `Cost ${money(cost)}`), live]);
  const drawStages = region(stages, stageList);
  const drawBill = region(bill, () => receipts(share));
  const drawSummary = region(summary, () => summaryPart(share));
  // Apart from the transcript: a recording that is put elsewhere on the page would stop.
  const drawSound = region(recording, (playable) => {
    sound = playable ? player({ share, start, at: (ms) => lines?.at(ms) }) : null;
    return sound?.node;
  });
  const drawSaid = region(said, () => {
    const segments = share.transcript?.segments ?? [];
    lines = segments.length
      ? transcript({ segments, player: () => sound?.element ?? null, start, chosen: (ms) => replaceQuery({ t: String(ms) }), signal })
      : null;
    queueMicrotask(() => lines?.begin());
    return transcriptPart(share, lines, path);
  });

  const made = {
    nodes: [
      h("header", { class: "stack" }, h("a", { class: "back", href: "#/" }, icon("back"), "All shares"), heading, about, acts.node),
      append(columns, [
        h("div", { class: "stack main-column" }, h("section", { class: "card stack", "aria-label": "Recording and transcript" }, recording, said)),
        h("div", { class: "stack side-column" },
          h("section", { class: "card stack", "aria-label": "Stages" }, h("h2", {}, "Stages"), stages),
          h("section", { class: "card stack", "aria-label": "Summary" }, summary))]),
      h("section", { class: "card stack", "aria-label": "Receipts" }, h("h2", {}, "Receipts"), bill),
    ],
    follow: () => {},
    state: () => share.state,
    focus: () => heading.focus({ preventScroll: true }),
    live(state) {
      live.hidden = state === "live" || !isActive(share.state);
      live.classList.toggle("away", state === "away");
      live.textContent = state === "away" ? "Connection lost; trying again" : "Updated every 2 s";
    },
    update(now) {
      const told = changes(share.stages, now.stages);
      if (told) say(told);
      share = now;
      heading.textContent = title(share);
      drawHead(share.state, share.cost_micro_usd, Math.floor(Date.now() / 60_000));
      columns.classList.toggle("active", isActive(share.state)); // then its progress comes first on a phone
      drawStages(share.stages);
      const fetched = share.stages.some((stage) => stage.stage === "media" && ["done", "skipped"].includes(stage.state));
      drawSound(fetched);
      const transcribing = share.stages.find((stage) => stage.stage === "transcribe");
      drawSaid(share.transcript, transcribing?.state, transcribing?.reason);
      drawSummary(share.summary, share.tags, share.quality, share.embedding, share.text_language, share.description);
      drawBill(share.receipts, share.stages);
      acts.update(share);
    },
  };
  return made;
}

function source(share) {
  if (share.url) return h("span", { class: "source" }, outside(share.url));
  return h("span", {}, share.filename ?? words(share.source_kind));
}

function actions({ path, refresh, share }) {
  const button = (name, picture, act, kind = "") => h("button", { class: `button small ${kind}`, type: "button", onclick: act }, icon(picture), name);
  const doing = async (work, done) => {
    try {
      await work();
      toast(done);
      await refresh();
    } catch (error) {
      if (error.status !== 401) toast(error.message, "bad");
    }
  };
  const retry = button("Retry", "retry", () => doing(() => api(`${path}/retry`, { method: "POST" }), "Failed stages are tried again."));
  const cancel = button("Cancel", "cancelled", async () => {
    const act = () => api(`${path}/cancel`, { method: "POST" });
    const body = h("p", {}, "No further stage begins, and what runs is stopped. Results and what was paid for stay.");
    if (await ask({ heading: "Cancel this share?", body, confirm: "Cancel it", act })) await doing(() => Promise.resolve(), "The share is being cancelled.");
  });
  const remove = button("Delete", "trash", async () => {
    const act = () => api(path, { method: "DELETE" });
    const body = h("p", {}, "Its text, recording, transcript, summary and passages are removed for good, and what runs is stopped. What it has cost stays counted.");
    if (!(await ask({ heading: "Delete this share?", body, confirm: "Delete it", danger: true, act }))) return;
    toast("The share is deleted.");
    location.hash = "#/";
  }, "quiet");
  const like = h("a", { class: "button small", href: `#/search?like=${encodeURIComponent(share().share_id)}` }, icon("search"), "More like this");
  return {
    node: h("div", { class: "row wrap" }, retry, cancel, like, remove),
    update(now) {
      retry.hidden = !now.stages.some((stage) => REDO.includes(stage.state));
      cancel.hidden = !isActive(now.state);
      like.hidden = now.embedding === null || now.embedding === undefined || Boolean(now.embedding.skipped_reason);
    },
  };
}

function transcriptPart(share, lines, path) {
  const said = share.transcript;
  const downloads = ["srt", "vtt", "txt"].map((kind) =>
    h("a", { class: "button small quiet", href: `${path}/transcript?format=${kind}`, download: true, "aria-label": `Transcript as ${kind}` }, icon("download"), kind));
  const head = h("div", { class: "row wrap" }, h("h2", { class: "grow" }, "Transcript"), said?.text ? h("div", { class: "downloads" }, downloads) : null);
  const facts = said ? [said.language, said.duration_ms ? clock(said.duration_ms) : null, said.model].filter(Boolean).join(" · ") : "";
  if (lines) return [head, h("p", { class: "muted" }, facts), lines.node];
  if (said?.text) return [head, said.note ? h("p", { class: "note" }, said.note) : null, h("p", { class: "prose" }, said.text)];
  const stage = share.stages.find((one) => one.stage === "transcribe");
  if (!stage) return [h("h2", {}, "Text"), h("p", { class: "prose" }, share.description ?? "A text has no recording. What it says is in its summary, and is found by search.")];
  if (said?.skipped_reason) return [head, h("p", { class: "note" }, `There is no transcript: ${words(said.skipped_reason).toLowerCase()}.`)];
  if (isActive(stage.state)) return [head, loading("What is said appears here")];
  return [head, h("p", { class: "note" }, `There is no transcript${stage.reason ? `: ${stage.reason}` : "."}`)];
}

function summaryPart(share) {
  const { summary } = share;
  const heading = h("h2", {}, "Summary");
  const tags = [...new Set([...(share.tags ?? []), ...(summary?.tags ?? [])])];
  const tagList = tags.length ? h("ul", { class: "tags", "aria-label": "Tags" }, tags.map((tag) => h("li", {}, tag))) : null;
  if (!summary) {
    const stage = share.stages.find((one) => one.stage === "summarize");
    const waits = stage && isActive(stage.state);
    return [heading, waits ? loading("The summary appears here") : h("p", { class: "note" }, `There is no summary${stage?.reason ? `: ${stage.reason}` : "."}`), tagList];
  }
  if (summary.skipped_reason) return [heading, h("p", { class: "note" }, `There is no summary: ${words(summary.skipped_reason).toLowerCase()}.`), tagList];
  const facts = [summary.category && words(summary.category), summary.model, share.quality && `quality ${percent(share.quality.score)} by ${share.quality.by}`].filter(Boolean);
  const links = summary.links?.length ? [h("h3", {}, "Links"), h("ul", { class: "plain" }, summary.links.map((address) => h("li", {}, outside(address))))] : null;
  return [heading, h("p", { class: "prose" }, summary.summary ?? ""),
    summary.key_points?.length ? [h("h3", {}, "Key points"), h("ul", { class: "points" }, summary.key_points.map((point) => h("li", {}, point)))] : null,
    tagList, links, h("p", { class: "muted" }, facts.join(" · "))];
}
