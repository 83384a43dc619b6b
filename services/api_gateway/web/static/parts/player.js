// The recording of a share, or why there is none to be heard.

import { ApiError } from "../api.js";
import { fill, h, outside } from "../dom.js";

/** `at(ms)` hears where the recording stands; `start` is where it begins, in ms, or null. */
export function player({ share, start, at }) {
  const path = `/shares/${encodeURIComponent(share.share_id)}/media`;
  const isAudio = share.content_type === "audio";
  const element = h(isAudio ? "audio" : "video", { controls: true, preload: "metadata", src: path, "aria-label": "Recording", playsinline: true });
  const node = h("div", { class: `player ${isAudio ? "audio" : "video"}` }, element);
  const made = { node, element };
  element.addEventListener("timeupdate", () => at(element.currentTime * 1000));
  element.addEventListener("loadedmetadata", () => {
    if (start !== null) element.currentTime = start / 1000;
    // A page's address may lead to sound alone: then there is nothing to be shown above the controls.
    if (!isAudio && element.videoWidth === 0) node.classList.replace("video", "audio");
  }, { once: true });
  element.addEventListener("error", async () => {
    made.element = null;
    const reason = await whyNot(path);
    fill(node, h("p", { class: "note" }, reason, share.url ? [" ", outside(share.url, "Open the original")] : null));
  }, { once: true });
  return made;
}

async function whyNot(path) {
  try {
    const response = await fetch(path, { headers: { range: "bytes=0-0", accept: "application/json" } });
    if (response.ok) return "This browser cannot play the recording.";
    const problem = await response.json();
    return response.status === 404 && problem.detail?.includes("/docs") ? "The recording cannot be played here." : problem.detail;
  } catch (error) {
    return error instanceof ApiError ? error.message : "The recording cannot be loaded now.";
  }
}
