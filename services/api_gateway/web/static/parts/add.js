// Adding a share: a link, files or a text. A form that is sent again after a failure is the same share.

import { newKey, upload } from "../api.js";
import { fill, h, icon, say, toast } from "../dom.js";
import { bytes, percent } from "../format.js";
import { accounts, session } from "../session.js";

const KINDS = [
  ["url", "Link", "link"],
  ["file", "File", "upload"],
  ["text", "Text", "text"],
];

/** The form; `added(accepted)` hears of each share that was taken. Files may also be dropped anywhere on the page. */
export function addForm({ added, signal }) {
  const sending = h("div", { class: "stack", "aria-live": "polite" });
  const error = h("p", { class: "error", role: "alert", id: "add-error" });
  const url = h("input", { type: "url", id: "add-url", name: "url", placeholder: "https://…", autocomplete: "off", "aria-describedby": "add-error" });
  const text = h("textarea", { id: "add-text", name: "text", rows: "5", "aria-describedby": "add-error" });
  const file = h("input", { type: "file", id: "add-file", class: "visually-hidden", multiple: true, accept: "audio/*,video/*" });
  const drop = h("label", { class: "drop", for: "add-file" }, icon("upload"),
    h("span", {}, h("strong", {}, "Choose audio or video"), " or drop it anywhere on this page"));
  const title = h("input", { type: "text", id: "add-title", maxlength: "500", autocomplete: "off" });
  const account = h("select", { id: "add-account" }, accounts().map((name) => h("option", { selected: name === session.account }, name)));
  const button = h("button", { class: "button primary", type: "submit" }, icon("add"), "Add share");
  const bodies = {
    url: h("div", { class: "field grow" }, h("label", { for: "add-url" }, "Address of a video, a podcast or a page"), url),
    file: h("div", { class: "field grow" }, file, drop),
    text: h("div", { class: "field grow" }, h("label", { for: "add-text" }, "Text"), text),
  };
  const tabs = KINDS.map(([kind, name, picture]) =>
    h("label", { class: "segment" }, h("input", { type: "radio", name: "kind", value: kind, checked: kind === "url", onchange: () => choose(kind) }), h("span", {}, icon(picture), name)));
  let key = null;

  function choose(kind) {
    for (const [name, body] of Object.entries(bodies)) body.hidden = name !== kind;
    button.hidden = kind === "file";
    error.textContent = "";
  }

  function fields(values) {
    const form = new FormData();
    for (const [name, value] of Object.entries({ ...values, title: title.value.trim() })) if (value) form.append(name, value);
    if (account.value !== "default") form.append("account", account.value);
    return form;
  }

  async function submit(event) {
    event.preventDefault();
    error.textContent = "";
    const isText = !bodies.text.hidden;
    const value = (isText ? text.value : url.value).trim();
    if (!value) {
      error.textContent = isText ? "Write or paste a text first." : "Paste an address first.";
      (isText ? text : url).focus();
      return;
    }
    key ??= newKey();
    button.disabled = true;
    try {
      const accepted = await upload("/shares", fields(isText ? { text: value } : { url: value }), { key, progress: () => {} });
      [url.value, text.value, title.value, key] = ["", "", "", null];
      say("The share was added.");
      added(accepted);
    } catch (refused) {
      error.textContent = refused.message;
      if (refused.status >= 400 && refused.status < 500) key = null; // refused: the next one may be another
    } finally {
      button.disabled = false;
    }
  }

  function send(files) {
    for (const one of files) sendFile(one, newKey(), files.length === 1);
  }

  async function sendFile(one, itsKey, alone) {
    const bar = h("progress", { max: "1", value: "0", "aria-label": `Upload of ${one.name}` });
    const state = h("span", { class: "muted" }, `${bytes(one.size)} · 0 %`);
    const stop = new AbortController();
    const cancel = h("button", { class: "button small quiet", type: "button", onclick: () => stop.abort() }, "Stop");
    const row = h("div", { class: "sending" }, h("span", { class: "name" }, one.name), state, cancel, bar);
    sending.append(row);
    const progress = (part) => {
      bar.value = part;
      state.textContent = part < 1 ? `${bytes(one.size)} · ${percent(part)}` : "Being checked…";
    };
    try {
      const form = fields({});
      form.append("file", one, one.name); // last, so that what is said about it is read first
      const accepted = await upload("/shares", form, { key: itsKey, progress, signal: stop.signal });
      row.remove();
      say(`${one.name} was added.`);
      added(accepted, { alone });
    } catch (refused) {
      if (refused.name === "AbortError") {
        // All of it may have been taken in the moment in which it was stopped; before, nothing can have been.
        toast(bar.value < 1 ? `${one.name} was stopped; nothing was added.` : `${one.name} was stopped; look whether it was added already.`);
        return row.remove();
      }
      const again = () => (row.remove(), sendFile(one, itsKey, alone));
      fill(row, h("span", { class: "name" }, one.name), h("span", { class: "error", role: "alert" }, refused.message),
        h("button", { class: "button small", type: "button", onclick: again }, icon("retry"), "Try again"),
        h("button", { class: "button small quiet", type: "button", onclick: () => row.remove() }, "Dismiss"));
    }
    return undefined;
  }

  file.addEventListener("change", () => {
    send([...file.files]);
    file.value = "";
  });
  listenForDrops(send, signal);
  const more = h("details", { class: "more" }, h("summary", {}, accounts().length > 1 ? "Title and account" : "Title"),
    h("div", { class: "row wrap" },
      h("div", { class: "field grow" }, h("label", { for: "add-title" }, "Title"), title),
      accounts().length > 1 ? h("div", { class: "field" }, h("label", { for: "add-account" }, "Account that pays"), account) : null));
  choose("url");
  return h("form", { class: "card stack add", onsubmit: submit, "aria-label": "Add a share", novalidate: true },
    h("fieldset", { class: "segments" }, h("legend", { class: "visually-hidden" }, "What to share"), tabs),
    h("div", { class: "row wrap bottom" }, Object.values(bodies), button), error, sending, more);
}

function listenForDrops(send, signal) {
  const has = (event) => event.dataTransfer?.types.includes("Files");
  const over = (event) => {
    if (!has(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  };
  const out = (event) => {
    if (event.relatedTarget === null) document.body.classList.remove("dropping");
  };
  const dropped = (event) => {
    if (!has(event)) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    const files = [...event.dataTransfer.files];
    if (files.length) send(files);
    else toast("There is no file in what was dropped.", "bad");
  };
  for (const [name, act] of [["dragover", over], ["dragleave", out], ["drop", dropped]]) addEventListener(name, act, { signal });
  signal.addEventListener("abort", () => document.body.classList.remove("dropping"));
}
