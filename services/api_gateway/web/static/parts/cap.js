// Changing a cap: the ledger decides, so the answer says what is in force now.

import { api } from "../api.js";
import { h, toast } from "../dom.js";
import { money, plainDollars } from "../format.js";
import { ask } from "./dialog.js";
import { scopeName } from "./gauges.js";

/** Ask for a new cap of the scope and window of `row`; resolves to whether one was set. */
export async function changeCap(row) {
  const capped = row.cap_micro_usd !== null && row.cap_micro_usd !== undefined;
  const amount = h("input", { id: "cap", name: "cap", inputmode: "decimal", autocomplete: "off", value: capped ? plainDollars(row.cap_micro_usd) : "", "aria-describedby": "cap-help", required: true, pattern: "\\$?[0-9]{1,12}([.][0-9]{1,6})?" });
  const none = h("input", { type: "checkbox", name: "none", checked: !capped, onchange: () => (amount.disabled = none.checked) });
  amount.disabled = !capped;
  const mode = h("select", { id: "cap-mode", name: "mode" }, h("option", { value: "enforce", selected: row.mode !== "warn" }, "Park work above it"),
    h("option", { value: "warn", selected: row.mode === "warn" }, "Only warn"));
  const body = [
    h("p", { class: "muted" }, `Account ${row.account}`),
    h("div", { class: "field" }, h("label", { for: "cap" }, "US dollars"), amount, h("p", { id: "cap-help", class: "hint" }, "At most six decimals. A lower cap takes back nothing that was granted.")),
    h("label", { class: "check" }, none, " No limit"),
    h("div", { class: "field" }, h("label", { for: "cap-mode" }, "When it is reached"), mode),
  ];
  const act = async () => {
    const cap = none.checked ? null : amount.value.trim();
    const changed = await api(`/budget/caps/${encodeURIComponent(row.scope)}`, { method: "PUT", body: { account: row.account, window: row.window, cap, mode: mode.value } });
    const now = changed.now.cap_micro_usd === null || changed.now.cap_micro_usd === undefined ? "no limit" : money(changed.now.cap_micro_usd);
    toast(`${scopeName(row.scope)}, each ${row.window}: ${now}.${changed.woken ? ` ${changed.woken} parked stages go on.` : ""}`);
  };
  return ask({ heading: `${scopeName(row.scope)}: cap of each ${row.window}`, body, confirm: "Set the cap", act });
}
