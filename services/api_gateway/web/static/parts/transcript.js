// A transcript beside its player: the line that is said now is marked and stays in sight, a chosen line is played.

import { h, say } from "../dom.js";
import { clock, segmentAt } from "../format.js";

const HANDS_OFF_MS = 4000; // after somebody has scrolled the lines by hand

/**
 * The lines of a transcript. `player` may be null: then a line only marks itself. `start` is the moment to begin at in
 * ms, or null; `chosen(ms)` hears which line was gone to. Arrow keys go from line to line, Enter plays one.
 */
export function transcript({ segments, player, start, chosen, signal }) {
  const lines = segments.map((segment, index) =>
    h("li", {}, h("button", { type: "button", class: "line", tabindex: index === 0 ? "0" : "-1", "data-index": index },
      h("span", { class: "time" }, clock(segment.start_ms)), " ", h("span", {}, segment.text.trim()))));
  const list = h("ol", { class: segments.length > 200 ? "lines long" : "lines", "aria-label": "Transcript; arrow keys go from line to line, Enter plays one", onclick: click, onkeydown: key }, lines);
  const button = (index) => lines[index].firstChild;
  let current = -1;
  let tabbable = 0;
  let scrolledAt = -Infinity;

  function mark(index) {
    if (index === current) return;
    if (current >= 0) button(current).removeAttribute("aria-current");
    current = index;
    if (current < 0) return;
    button(current).setAttribute("aria-current", "true");
    if (performance.now() - scrolledAt > HANDS_OFF_MS) bringIntoView(list, lines[current]);
  }

  function rove(index, focus) {
    button(tabbable).tabIndex = -1;
    tabbable = index;
    button(index).tabIndex = 0;
    if (focus) button(index).focus();
  }

  function seek(index) {
    rove(index, false);
    scrolledAt = -Infinity;
    mark(index);
    const ms = segments[index].start_ms;
    chosen(ms);
    if (!player()) return;
    player().currentTime = ms / 1000;
    player().play().catch((error) => say(`The recording does not play: ${error.message}`));
  }

  function click(event) {
    const line = event.target.closest(".line");
    if (line) seek(Number(line.dataset.index));
  }

  function key(event) {
    const steps = { ArrowDown: tabbable + 1, ArrowUp: tabbable - 1, Home: 0, End: lines.length - 1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    rove(Math.max(0, Math.min(lines.length - 1, steps[event.key])), true);
  }

  for (const name of ["wheel", "touchmove", "pointerdown"]) {
    list.addEventListener(name, () => (scrolledAt = performance.now()), { passive: true, signal });
  }
  const node = h("div", {}, list);
  return {
    node,
    /** Mark what is said at a moment of the player. */
    at: (ms) => mark(segmentAt(segments, ms)),
    /** Show the moment that the address asked for, once the lines are on the page. */
    begin() {
      if (start === null || lines.length === 0) return;
      const index = Math.max(0, segmentAt(segments, start));
      rove(index, false);
      mark(index);
    },
  };
}

/** Scroll the list alone, not the page, so that the line lies in its middle. */
function bringIntoView(list, line) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const top = line.offsetTop - list.offsetTop - (list.clientHeight - line.clientHeight) / 2;
  list.scrollTo({ top, behavior: calm ? "auto" : "smooth" });
}
