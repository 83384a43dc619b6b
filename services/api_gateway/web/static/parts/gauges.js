// How much of each budget is used, in the present hour and day, and where it is going.

import { h } from "../dom.js";
import { money, percent, relative } from "../format.js";
import { stageName } from "./stages.js";

const ORDER = ["total", "media", "transcribe", "summarize", "embed", "search"];

export const scopeName = (scope) => ({ total: "Everything", search: "Search" })[scope] ?? stageName(scope);

/** Cards of all scopes; `change(row)` is called for a new cap, null where somebody may not set one. */
export function gauges(rows, change) {
  const place = (scope) => (ORDER.includes(scope) ? ORDER.indexOf(scope) : ORDER.length);
  const scopes = [...new Set(rows.map((row) => row.scope))].sort((a, b) => place(a) - place(b));
  return h("div", { class: "gauges" }, scopes.map((scope) =>
    h("section", { class: "card stack", "aria-label": scopeName(scope) }, h("h3", {}, scopeName(scope)),
      rows.filter((row) => row.scope === scope).map((row) => gauge(row, change)))));
}

function gauge(row, change) {
  const used = row.settled_micro_usd + row.held_micro_usd + row.unconfirmed_micro_usd;
  const capped = row.cap_micro_usd !== null && row.cap_micro_usd !== undefined;
  const part = capped ? (row.cap_micro_usd > 0 ? used / row.cap_micro_usd : 1) : 0;
  const name = `${scopeName(row.scope)}, this ${row.window}`;
  const written = capped ? `${money(used)} of ${money(row.cap_micro_usd)}` : `${money(used)}, no cap`;
  const level = part >= 1 ? "full" : part >= 0.8 ? "high" : "";
  const edit = change ? h("button", { class: "button small quiet", type: "button", "aria-label": `Change the cap: ${name}`, onclick: () => change(row) }, "Change") : null;
  return h("div", { class: "gauge" },
    h("div", { class: "row" }, h("span", { class: "grow" }, `This ${row.window}`), h("span", { class: "muted" }, capped ? percent(part) : ""), edit),
    capped ? h("div", { class: `meter ${level}`, role: "meter", "aria-label": name, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": Math.min(100, Math.round(part * 100)), "aria-valuetext": written }, bar(row, used)) : null,
    h("div", { class: "figures" }, h("strong", {}, money(used)), capped ? ` of ${money(row.cap_micro_usd)}` : " · no cap", row.mode === "warn" ? " · only warns" : ""),
    h("div", { class: "muted" }, details(row)));
}

function details(row) {
  const facts = [`${row.calls} ${row.calls === 1 ? "call" : "calls"}`];
  for (const [key, name] of [["held", "held"], ["unconfirmed", "unconfirmed"], ["overrun", "above holds"]]) {
    const amount = row[`${key}_micro_usd`];
    if (amount) facts.push(`${money(amount)} ${name}`);
  }
  if (row.exhausted_at) facts.push(`used up ${relative(row.exhausted_at)} at this rate`);
  return facts.join(" · ");
}

/** The used part of a meter: what is paid, and in a lighter colour what is held or unconfirmed. */
function bar(row, used) {
  const whole = Math.max(row.cap_micro_usd, used, 1);
  return [["settled", row.settled_micro_usd], ["held", row.held_micro_usd + row.unconfirmed_micro_usd]].map(([name, amount]) => {
    const piece = h("span", { class: `meter-${name}`, "data-none": amount === 0 });
    piece.style.width = `${(amount / whole) * 100}%`;
    return piece;
  });
}
