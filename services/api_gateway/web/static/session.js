// Who is signed in. A gateway without sign-in has no /me, or says that everybody is its owner.

import { ApiError, api } from "./api.js";

const NOBODY = { owner: null, roles: [], accounts: null, signIn: false };
const ANYBODY = { owner: null, roles: ["user", "admin"], accounts: null, signIn: false };

export const session = { ...NOBODY, account: "default" };

export const isAdmin = () => session.roles.includes("admin");

/** Which accounts may be charged and looked at: those of the token, or `default` where it names none. */
export const accounts = () => session.accounts ?? ["default"];

function become(who) {
  Object.assign(session, who);
  if (!accounts().includes(session.account)) {
    session.account = accounts().includes("default") ? "default" : (accounts()[0] ?? "default");
  }
}

/** Ask who this is; false when somebody has to sign in first. */
export async function recognise() {
  try {
    const me = await api("/me");
    become({ owner: me.owner, roles: me.roles, accounts: me.accounts, signIn: me.sign_in });
    return true;
  } catch (error) {
    if (error instanceof ApiError && error.unsupported) {
      become(ANYBODY);
      return true;
    }
    if (error instanceof ApiError && error.status === 401) return false;
    throw error;
  }
}

/** Sign in with a token; the gateway keeps it in a cookie that no script can read. */
export async function signIn(token, { link = false } = {}) {
  await api("/session", { method: "POST", body: { token, link } });
}

export async function signOut() {
  await api("/session", { method: "DELETE" });
  Object.assign(session, NOBODY);
}

/** The token in an address such as /#sign-in=TOKEN, which is then taken out of the address and its history. */
export function tokenInAddress() {
  const found = /^#sign-in=(.+)$/.exec(location.hash);
  if (!found) return null;
  history.replaceState(null, "", `${location.pathname}${location.search}#/`);
  return found[1]; // letters, digits, - _ and . alone: nothing in it is encoded
}
