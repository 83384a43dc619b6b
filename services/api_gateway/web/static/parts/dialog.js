// Questions that hold everything else up: the browser's own dialog keeps the focus in and closes on Escape.

import { h } from "../dom.js";

/**
 * Ask something. `act` (async) runs when it is confirmed; while it fails, the dialog stays and says why.
 * Resolves to true when it was done, false when somebody thought better of it.
 */
export function ask({ heading, body, confirm, danger = false, act }) {
  return new Promise((resolve) => {
    let done = false;
    const error = h("p", { class: "error", role: "alert" });
    const yes = h("button", { class: `button ${danger ? "danger" : "primary"}`, type: "submit" }, confirm);
    const no = h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, "Back");
    const form = h("form", { class: "stack", method: "dialog", onsubmit: submit },
      h("h2", { id: "dialog-heading" }, heading), body, error, h("div", { class: "row end" }, no, yes));
    const dialog = h("dialog", { "aria-labelledby": "dialog-heading" }, form);

    async function submit(event) {
      event.preventDefault();
      error.textContent = "";
      yes.disabled = true;
      try {
        await act(new FormData(form));
        done = true;
        dialog.close();
      } catch (refused) {
        error.textContent = refused.message;
      } finally {
        yes.disabled = false;
      }
    }

    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
