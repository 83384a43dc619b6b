// Sign-in with a token, which the gateway keeps in a cookie.

import { h } from "../dom.js";
import { signIn } from "../session.js";

export function render() {
  const field = h("input", { id: "token", type: "password", autocomplete: "off", required: true, spellcheck: "false", "aria-describedby": "token-help token-error" });
  const error = h("p", { id: "token-error", class: "error", role: "alert" });
  const button = h("button", { class: "button primary", type: "submit" }, "Sign in");

  async function submit(event) {
    event.preventDefault();
    error.textContent = "";
    button.disabled = true;
    try {
      await signIn(field.value.trim());
      document.dispatchEvent(new Event("signed-in"));
    } catch (refused) {
      error.textContent = refused.message;
      field.focus();
    } finally {
      button.disabled = false;
    }
  }

  const form = h(
    "form", { class: "card narrow stack", onsubmit: submit },
    h("h1", {}, "Sign in"),
    h("div", { class: "field" }, h("label", { for: "token" }, "Token"), field,
      h("p", { id: "token-help", class: "hint" }, "Whoever runs this gateway gives you one. It is kept in a cookie that no script can read.")),
    error, button,
  );
  return { title: "Sign in", node: form };
}
