// An address of the page that shows nothing.

import { h, icon } from "../dom.js";

export function render() {
  const back = h("a", { class: "button", href: "#/" }, icon("back"), "All shares");
  const why = h("p", {}, "There is nothing at this address, or it is not for you.");
  return { title: "Not found", node: h("div", { class: "state" }, icon("empty"), h("h1", {}, "Not found"), why, back) };
}
