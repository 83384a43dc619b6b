// What is shown where there is nothing, not yet anything, or an error; and the state of shares and stages.

import { h, icon } from "../dom.js";

export function loading(what = "Loading") {
  return h("div", { class: "loading", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), `${what}…`);
}

export function empty(heading, text, ...more) {
  return h("div", { class: "state" }, icon("empty"), h("h2", {}, heading), h("p", {}, text), ...more);
}

export function failure(error, again) {
  const button = again ? h("button", { class: "button", onclick: again }, icon("retry"), "Try again") : null;
  return h("div", { class: "state bad", role: "alert" }, icon("alert"), h("p", {}, error.message), button);
}

const STATES = {
  queued: "Queued",
  running: "Running",
  waiting: "Waiting",
  parked: "Parked",
  done: "Done",
  skipped: "Skipped",
  failed: "Failed",
  cancelled: "Cancelled",
};

export const STATE_NAMES = Object.keys(STATES);

export const stateName = (state) => STATES[state] ?? state;

/** A state in a word, a colour and a picture. */
export function badge(state) {
  return h("span", { class: `badge is-${state}` }, icon(state), stateName(state));
}

/** Whether something still goes on in a share. */
export const isActive = (state) => ["queued", "running", "waiting", "parked"].includes(state);
