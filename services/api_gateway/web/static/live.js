// Server-sent events that survive: the browser reconnects by itself while it may, this does so when it may not.

const LONGEST_MS = 30_000;

/**
 * Listen to `url` until `signal` aborts.
 *
 * `events` are functions by event name, given the parsed data. `poll` (async) fetches the present state instead: while
 * the stream is away, every `pollMs` where the gateway has none, and with `refresh` whenever the stream opens: one that
 * tells changes alone says nothing of what has happened before. `changed` hears "live", "polling" or "away".
 */
export function watch(url, { events, poll, pollMs = 2000, refresh = false, changed = () => {}, signal }) {
  let source;
  let timer;
  let failures = 0;
  let everOpen = false;
  let last = "";
  let stopped = false;

  const become = (state) => {
    if (state !== last) changed((last = state));
  };
  const later = (work, ms) => {
    clearTimeout(timer);
    if (!signal.aborted && !stopped) timer = setTimeout(work, ms);
  };

  function open() {
    if (stopped) return;
    source = new EventSource(url);
    source.addEventListener("open", () => {
      [failures, everOpen] = [0, true];
      become("live");
      if (refresh) poll().catch(() => {}); // it is shown by the next one, or by what is told
    });
    for (const [name, act] of Object.entries(events)) {
      source.addEventListener(name, (event) => act(event.data ? JSON.parse(event.data) : null));
    }
    source.addEventListener("error", () => {
      if (signal.aborted) return;
      if (source.readyState === EventSource.CLOSED) instead();
      else become("away"); // the browser connects again by itself, with Last-Event-ID
    });
  }

  async function instead() {
    failures += 1;
    let answered = true;
    try {
      await poll();
    } catch (error) {
      if (error.name === "AbortError" || error.status === 401 || error.unsupported) return;
      answered = false;
    }
    become(answered ? "polling" : "away");
    const backOff = Math.min(LONGEST_MS, 1000 * 2 ** Math.min(failures, 5));
    if (answered && !everOpen) later(instead, pollMs);
    else later(everOpen ? open : instead, backOff);
  }

  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    source?.close();
  });
  open();
  return () => {
    stopped = true;
    clearTimeout(timer);
    source?.close();
  };
}
