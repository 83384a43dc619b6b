// What a share has cost: one line for each call of a model, and for each stage that needed none.

import { h } from "../dom.js";
import { moment, money, words } from "../format.js";
import { stageName } from "./stages.js";
import { stateName } from "./states.js";

export function receipts(share) {
  const rows = share.stages.flatMap((stage) => {
    const calls = share.receipts.filter((receipt) => receipt.stage === stage.stage);
    return calls.length ? calls.map(callRow) : [noCallRow(stage)];
  });
  const head = ["Stage", "Model", "State", "Held", "Paid", "When"].map((name, index) =>
    h("th", { scope: "col", class: index === 3 || index === 4 ? "number" : null }, name));
  return h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Receipts" },
    h("table", { class: "stacking" }, h("caption", { class: "visually-hidden" }, "What each stage cost"),
      h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows),
      h("tfoot", {}, h("tr", {}, h("th", { scope: "row", colspan: "4" }, "Together"),
        h("td", { class: "number total" }, money(share.cost_micro_usd)), h("td", {})))));
}

function row(stage, cells) {
  return h("tr", {}, h("th", { scope: "row" }, stageName(stage)),
    cells.map(([name, value, kind]) => h("td", { "data-name": name, class: kind ?? null }, value)));
}

function callRow(call) {
  const notes = [words(call.state)];
  if (call.reused) notes.push(`done before for another share, which paid ${money(call.actual_micro_usd)}`);
  if (call.works > 1) notes.push(`one call for ${call.works} works`);
  if (call.attempt > 1) notes.push(`try ${call.attempt}`);
  if (call.reason) notes.push(call.reason);
  return row(call.stage, [
    ["Model", call.model, "wrap"], ["State", notes.join("; ")], ["Held", money(call.hold_micro_usd), "number"],
    ["Paid", money(call.reused ? 0 : call.actual_micro_usd), "number"], ["When", moment(call.asked_at)],
  ]);
}

function noCallRow(stage) {
  const why = ["done", "skipped"].includes(stage.state) ? `${stateName(stage.state)}; no model was called` : stateName(stage.state);
  return row(stage.stage, [
    ["Model", stage.model ?? "–", "wrap"], ["State", stage.reason ? `${why}: ${stage.reason}` : why], ["Held", "–", "number"],
    ["Paid", money(stage.cost_micro_usd), "number"], ["When", moment(stage.updated_at)],
  ]);
}
