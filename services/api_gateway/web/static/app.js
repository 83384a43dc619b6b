// The frame of the page: who is signed in, what can be gone to, and which view is shown.

import { signals } from "./api.js";
import { fill, h, icon, toast } from "./dom.js";
import { start } from "./router.js";
import { isAdmin, recognise, session, signIn, signOut, tokenInAddress } from "./session.js";

const VIEWS = {
  home: () => import("./views/home.js"),
  share: () => import("./views/share.js"),
  search: () => import("./views/search.js"),
  costs: () => import("./views/costs.js"),
  pipeline: () => import("./views/pipeline.js"),
  signIn: () => import("./views/sign_in.js"),
  nowhere: () => import("./views/nowhere.js"),
};
const LINKS = [
  ["home", "#/", "Shares", false],
  ["search", "#/search", "Search", false],
  ["costs", "#/costs", "Costs", false],
  ["pipeline", "#/pipeline", "Pipeline", true],
];

const main = document.getElementById("main");
let known = false;

function find(parts) {
  if (!known) return { name: "signIn", load: VIEWS.signIn };
  const [first = "home", second] = parts;
  const name = first === "shares" ? (second ? "share" : "home") : first;
  const allowed = name in VIEWS && name !== "signIn" && (name !== "pipeline" || isAdmin());
  return allowed ? { name, load: VIEWS[name] } : { name: "nowhere", load: VIEWS.nowhere };
}

const show = start(main, find, (name) => {
  const nav = document.getElementById("nav");
  nav.hidden = !known;
  fill(
    nav,
    LINKS.filter(([, , , admins]) => !admins || isAdmin()).map(([view, href, text]) =>
      h("a", { href, "aria-current": view === name || (view === "home" && name === "share") ? "page" : null }, text),
    ),
  );
  fill(document.getElementById("who"), session.signIn && known ? [h("span", { class: "muted" }, session.owner), leave()] : []);
});

function leave() {
  const act = async () => {
    try {
      await signOut();
      known = false;
    } catch (error) {
      toast(error.message, "bad");
    }
    show();
  };
  return h("button", { class: "button small quiet", onclick: act }, "Sign out");
}

async function begin() {
  const token = tokenInAddress();
  try {
    if (token) await signIn(token, { link: true }).catch(unlessNone);
    known = await recognise();
  } catch (error) {
    known = false;
    if (error.status !== 0) toast(error.message, "bad");
    else return away(error);
  }
  await show();
  main.dataset.ready = "true";
  return undefined;
}

/** A gateway without sign-in needs no token. */
function unlessNone(error) {
  if (!error.unsupported) throw error;
}

/** Nothing can be shown before the gateway has answered once. */
function away(error) {
  const again = h("button", { class: "button", onclick: () => begin() }, icon("retry"), "Try again");
  fill(main, h("div", { class: "state bad" }, icon("alert"), h("h1", {}, "No answer"), h("p", {}, error.message), again));
}

signals.addEventListener("signed-out", () => {
  if (!known) return;
  known = false;
  show();
});
document.addEventListener("signed-in", begin);
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#sign-in=")) begin();
});

function connection() {
  const banner = document.getElementById("offline");
  banner.hidden = navigator.onLine;
  banner.textContent = navigator.onLine ? "" : "You are offline. What you see may be old; it goes on by itself.";
}
addEventListener("online", connection);
addEventListener("offline", connection);
// A link to #main is for the keyboard; as an address it would be none of a view.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

connection();
begin();
