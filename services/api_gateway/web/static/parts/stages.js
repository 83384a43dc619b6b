// Where the stages of a share stand, and why.

import { h, icon } from "../dom.js";
import { money, percent, relative, words } from "../format.js";
import { stateName } from "./states.js";

const STAGE_NAMES = { media: "Fetch", transcribe: "Transcribe", summarize: "Summarize", embed: "Make searchable" };

export const stageName = (stage) => STAGE_NAMES[stage] ?? words(stage);

export function stageList(stages) {
  return h("ol", { class: "stages" }, stages.map((stage) => stageItem(stage, Date.now())));
}

function stageItem(stage, now) {
  const running = stage.state === "running";
  const bar = running && stage.progress !== null && stage.progress !== undefined
    ? h("progress", { max: "1", value: stage.progress, "aria-label": `${stageName(stage.stage)}, progress` })
    : running ? h("progress", { "aria-label": `${stageName(stage.stage)} is running` }) : null;
  const facts = [stateName(stage.state)];
  if (running && stage.progress) facts.push(percent(stage.progress));
  if (stage.model) facts.push(stage.model);
  if (stage.cost_micro_usd) facts.push(money(stage.cost_micro_usd));
  if (stage.attempt > 1) facts.push(`try ${stage.attempt}`);
  return h("li", { class: `stage is-${stage.state}` },
    h("span", { class: "mark" }, icon(stage.state)),
    h("div", { class: "grow" },
      h("div", { class: "stage-name" }, stageName(stage.stage)),
      h("div", { class: "muted" }, facts.join(" · ")),
      reason(stage, now), bar));
}

function reason(stage, now) {
  const told = [];
  if (stage.reason) told.push(stage.reason);
  if (stage.state === "parked" && stage.needed_micro_usd !== null && stage.needed_micro_usd !== undefined) {
    told.push(`needs ${money(stage.needed_micro_usd)}, ${money(stage.left_micro_usd)} left${stage.cap ? ` of ${stage.cap}` : ""}`);
  }
  if (stage.resume_at && ["parked", "waiting"].includes(stage.state)) told.push(`goes on ${relative(stage.resume_at, now)}`);
  return told.length ? h("div", { class: "reason" }, told.join("; ")) : null;
}

/** What changed between two states of a share, as one sentence for those who do not see it. */
export function changes(before, after) {
  const was = new Map(before.map((stage) => [stage.stage, stage.state]));
  return after.filter((stage) => was.get(stage.stage) !== stage.state)
    .map((stage) => `${stageName(stage.stage)}: ${stateName(stage.state).toLowerCase()}`).join(", ");
}
