// The pipeline, for admins: what each stage does now, and the messages that were given up on.

import { api } from "../api.js";
import { h, icon, region } from "../dom.js";
import { count, duration, moment } from "../format.js";
import { deadLetters } from "../parts/dead.js";
import { stageName } from "../parts/stages.js";
import { empty, failure, loading } from "../parts/states.js";

const EVERY_MS = 5000;
const COLUMNS = [
  ["lag", "Lag"], ["waiting", "Waiting"], ["queued", "Queued"], ["running", "Running"], ["parked", "Parked"], ["failed", "Failed"],
  ["done_last_hour", "Done, hour"], ["done_last_day", "Done, day"], ["retries_last_hour", "Retries, hour"], ["dead_open", "Dead"],
];

export function render({ signal }) {
  const stages = h("div", {}, loading("Reading the pipeline"));
  const draw = region(stages, pipelinePart);
  let timer;

  async function refresh() {
    clearTimeout(timer);
    try {
      if (!document.hidden) draw(await api("/api/pipeline", { signal }));
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401) return;
      if (error.unsupported) {
        draw.instead(empty("No figures", "This gateway does not tell what its stages do."));
        return;
      }
      draw.instead(failure(error, refresh));
    }
    timer = setTimeout(refresh, EVERY_MS);
  }
  signal.addEventListener("abort", () => clearTimeout(timer));
  refresh();
  const node = h("div", { class: "stack wide-gap" }, h("h1", {}, "Pipeline"),
    h("section", { class: "card stack", "aria-label": "Stages" }, h("h2", {}, "Stages"), stages),
    h("section", { class: "stack", "aria-label": "Dead letters" }, deadLetters(signal)));
  return { title: "Pipeline", node };
}

function pipelinePart(answer) {
  const head = h("tr", {}, h("th", { scope: "col" }, "Stage"), COLUMNS.map(([, name]) => h("th", { scope: "col", class: "number" }, name)));
  const rows = answer.stages.map((stage) => h("tr", {}, h("th", { scope: "row" }, stageName(stage.stage)),
    COLUMNS.map(([key, name]) => h("td", { class: `number${emphasis(key, stage[key])}`, "data-name": name }, count(stage[key])))));
  const paused = answer.stages.filter((stage) => stage.paused_until).map((stage) => h("p", { class: "note" }, icon("clock"),
    ` ${stageName(stage.stage)} takes nothing new: too many of its jobs ended as dead letters. One is tried at ${moment(stage.paused_until)}.`));
  const { messages, oldest_s: oldest } = answer.outbox;
  const outbox = messages === 0 ? "Every accepted event is in Kafka." : `${messages} accepted events wait for Kafka, the oldest for ${duration(oldest ?? 0)}.`;
  return [h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Figures of the stages" },
    h("table", { class: "stacking figures-table" }, h("caption", { class: "visually-hidden" }, "What each stage does now"), h("thead", {}, head), h("tbody", {}, rows))),
    ...paused, h("p", { class: messages === 0 ? "muted" : "note" }, icon(messages === 0 ? "done" : "clock"), " ", outbox)];
}

function emphasis(key, value) {
  return value > 0 && ["failed", "dead_open"].includes(key) ? " bad" : "";
}
