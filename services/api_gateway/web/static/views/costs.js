// Costs: budgets against their caps, spend over time, work that waits for money, and alerts.

import { api, withQuery } from "../api.js";
import { fill, h, icon, region } from "../dom.js";
import { count, moment, money, relative } from "../format.js";
import { changeCap } from "../parts/cap.js";
import { gauges, scopeName } from "../parts/gauges.js";
import { stageName } from "../parts/stages.js";
import { stackedBars } from "../parts/chart.js";
import { empty, failure, loading } from "../parts/states.js";
import { accounts, isAdmin, session } from "../session.js";

const EVERY_MS = 10_000;
const WINDOWS = [["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"]];
const KINDS = [["transcription", "Transcription", "--chart-0"], ["llm", "Summaries", "--chart-1"], ["vector", "Embeddings", "--chart-2"]];

export function render({ signal }) {
  const budgets = h("div", {}, loading("Reading budgets"));
  const spend = h("div", { class: "stack" }, loading("Reading spend"));
  const parked = h("div", {}, loading("Reading parked work"));
  const alerts = h("div", {}, loading("Reading alerts"));
  const period = h("select", { "aria-label": "Period", class: "small" }, WINDOWS.map(([value, name]) => h("option", { value }, name)));
  const account = h("select", { "aria-label": "Account", class: "small" }, accounts().map((name) => h("option", { selected: name === session.account }, name)));
  const draw = {
    budgets: region(budgets, (rows, note) => budgetPart(rows, note, isAdmin() ? change : null)),
    parked: region(parked, parkedPart),
    alerts: region(alerts, alertsPart),
  };
  let drawing = new AbortController();

  async function change(row) {
    // A cap of `default` holds for all accounts without their own; the ledger is told whose it is.
    if (await changeCap({ ...row, account: session.account })) await refresh();
  }

  async function part(work, instead, again) {
    try {
      await work();
    } catch (error) {
      if (error.name !== "AbortError" && error.status !== 401) instead(failure(error, again));
    }
  }

  async function refresh() {
    const query = { account: session.account };
    await Promise.all([
      part(async () => {
        const { rows, note } = await api(withQuery("/budget", query), { signal });
        draw.budgets(rows, note);
      }, draw.budgets.instead, refresh),
      part(async () => draw.parked(await readParked(query, signal)), draw.parked.instead, refresh),
      part(async () => draw.alerts((await api(withQuery("/budget/alerts", { ...query, limit: 20 }), { signal })).alerts), draw.alerts.instead, refresh),
    ]);
  }

  async function chart() {
    drawing.abort();
    drawing = new AbortController();
    const both = AbortSignal.any([signal, drawing.signal]);
    await part(async () => spendPart(spend, await readSpend(period.value, both), both), (node) => fill(spend, node), chart);
  }

  period.addEventListener("change", chart);
  account.addEventListener("change", () => {
    session.account = account.value;
    refresh();
    chart();
  });
  const timer = setInterval(() => document.hidden || refresh(), EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
  refresh();
  chart();
  const node = h("div", { class: "stack wide-gap" },
    h("div", { class: "row wrap" }, h("h1", { class: "grow" }, "Costs"), accounts().length > 1 ? account : null),
    h("section", { class: "stack", "aria-label": "Budgets" }, h("h2", {}, "Budgets"), budgets),
    h("section", { class: "card stack", "aria-label": "Spend" }, h("div", { class: "row wrap" }, h("h2", { class: "grow" }, "Spend"), period), spend),
    h("div", { class: "columns even" },
      h("section", { class: "card stack", "aria-label": "Parked work" }, h("h2", {}, "Waiting for money"), parked),
      h("section", { class: "card stack", "aria-label": "Alerts" }, h("h2", {}, "Alerts"), alerts)));
  return { title: "Costs", node };
}

function budgetPart(rows, note, change) {
  if (rows.length === 0) return empty("No budgets yet", note ?? "Neither caps nor spend were recorded.");
  return gauges(rows, change);
}

/** The analytics of all kinds; null where this gateway has none, or none for this person. */
async function readSpend(window, signal) {
  if (!isAdmin()) return null;
  const ask = ([kind]) => api(withQuery(`/api/ml/analytics/${kind}/costs`, { window, group_by: "model", account: session.account }), { signal });
  try {
    return await Promise.all(KINDS.map(ask));
  } catch (error) {
    if (error.unsupported) return null;
    throw error;
  }
}

async function spendPart(node, answers, signal) {
  const spent = (bucket) => bucket.settled_micro_usd + bucket.held_micro_usd + bucket.unconfirmed_micro_usd;
  if (answers === null || answers.every((answer) => spent(answer.totals) === 0)) {
    const why = answers === null ? (isAdmin() ? "This gateway does not tell spend over time." : "Spend over time is for admins.") : "Nothing was spent in this period.";
    fill(node, empty("Nothing to draw", why));
    return;
  }
  const box = h("div", { class: "stack" });
  const models = answers.flatMap((answer, index) => answer.groups.filter((group) => spent(group) > 0).map((group) => [KINDS[index][1], group]));
  models.sort((a, b) => spent(b[1]) - spent(a[1]));
  fill(node, box, h("h3", {}, "By model"), h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Spend by model" },
    h("table", { class: "stacking" }, h("thead", {}, h("tr", {}, ["Model", "For", "Calls", "Spent"].map((name, index) => h("th", { scope: "col", class: index > 1 ? "number" : null }, name)))),
      h("tbody", {}, models.map(([kind, group]) => h("tr", {}, h("th", { scope: "row", class: "wrap" }, group.key ?? "Unknown"), h("td", { "data-name": "For" }, kind),
        h("td", { class: "number", "data-name": "Calls" }, count(group.calls)), h("td", { class: "number", "data-name": "Spent" }, money(spent(group)))))))));
  const times = answers[0].series.map((bucket) => Date.parse(bucket.start) / 1000);
  const layers = KINDS.map(([, name, colour], index) => ({ name, colour, values: answers[index].series.map(spent) }));
  await stackedBars(box, { times, layers, bucket: answers[0].bucket, signal });
}

/** What waits for money: by the analytics where there are any for this person, else the own shares that are parked. */
async function readParked(query, signal) {
  try {
    if (isAdmin()) return { stages: (await api(withQuery("/api/ml/analytics/budget/status", query), { signal })).parked };
  } catch (error) {
    if (!error.unsupported) throw error;
  }
  try {
    return { shares: (await api("/shares?state=parked&limit=20", { signal })).shares };
  } catch (error) {
    if (!error.unsupported) throw error;
    return { shares: [] };
  }
}

function parkedPart({ stages, shares }) {
  if (!(stages ?? shares).length) return h("p", { class: "muted" }, "Nothing is parked.");
  if (shares) return h("ul", { class: "plain rows" }, shares.map((share) => h("li", {}, h("a", { href: `#/shares/${encodeURIComponent(share.share_id)}` }, share.title ?? share.filename ?? share.url ?? share.share_id))));
  return h("ul", { class: "plain rows" }, stages.map((work) => h("li", { class: "row" }, icon("parked"),
    h("div", { class: "grow" }, h("div", {}, `${stageName(work.stage)}: ${work.jobs} ${work.jobs === 1 ? "share" : "shares"}`),
      h("div", { class: "muted" }, [`needs ${money(work.needed_micro_usd)}`, work.cap, work.resume_at ? `goes on ${relative(work.resume_at)}` : null].filter(Boolean).join(" · "))))));
}

function alertsPart(alerts) {
  if (alerts.length === 0) return h("p", { class: "muted" }, "No alerts.");
  return h("ul", { class: "plain rows" }, alerts.map((alert) => h("li", { class: "row" }, icon("alert", alert.percent >= 100 ? "bad" : "warn"),
    h("div", { class: "grow" }, h("div", {}, alertSentence(alert)), h("div", { class: "muted" }, moment(alert.raised_at))))));
}

function alertSentence(alert) {
  const where = `${scopeName(alert.scope)}, ${alert.window} from ${moment(alert.start)}`;
  if (alert.percent > 0) return `${alert.percent} % of ${money(alert.cap_micro_usd)} used: ${where}`;
  if (alert.exhausted_at) return `${money(alert.cap_micro_usd)} will be used up at ${moment(alert.exhausted_at)}: ${where}`;
  return `A call cost more than its hold: ${where}`;
}
