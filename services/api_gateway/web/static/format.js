// How things are written for people. Pure: no page, no clock but the one that is passed in.

/** Micro-US-dollars in dollars, with every digit that matters: 1865 is $0.001865, 1500000 is $1.50. */
export function money(micro) {
  if (micro === null || micro === undefined) return "–";
  const sign = micro < 0 ? "−" : "";
  const digits = String(Math.abs(Math.trunc(micro))).padStart(7, "0");
  const whole = digits.slice(0, -6).replace(/\B(?=(\d{3})+$)/g, ",");
  const part = digits.slice(-6).replace(/0{1,4}$/, "");
  return `${sign}$${whole}.${part}`;
}

/** The same as a person would type it into a field: 1.5 as 1.50, without sign and commas. */
export function plainDollars(micro) {
  return money(micro).replace(/[$,]/g, "");
}

/** A moment of media: 0:07, 12:07, 1:02:07. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const tail = String(seconds % 60).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** How long something took or lasts: 40 s, 3 min, 2 h 5 min, 3 d. */
export function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.round((seconds % 3600) / 60)];
  if (hours < 48) return minutes ? `${hours} h ${minutes} min` : `${hours} h`;
  return `${Math.round(hours / 24)} d`;
}

/** A time from now: "just now", "4 min ago", "in 2 h"; far ones as a date. */
export function relative(iso, now = Date.now()) {
  const seconds = (Date.parse(iso) - now) / 1000;
  const away = Math.abs(seconds);
  if (away < 10) return seconds > 0 ? "in a moment" : "just now";
  if (away > 7 * 86400) return day(iso);
  return seconds < 0 ? `${duration(away)} ago` : `in ${duration(away)}`;
}

/** A date as the reader's machine writes it. */
export function day(iso) {
  return new Date(iso).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}

/** Date and time of day as the reader's machine writes them. */
export function moment(iso) {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** A size in decimal units. */
export function bytes(count) {
  for (const [unit, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]]) {
    if (count >= unit) return `${(count / unit).toFixed(1)} ${name}`;
  }
  return `${count} bytes`;
}

/** A number with separators; a dash where nothing is known. */
export function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString();
}

/** Part of a whole, 0 to 1, for people. */
export function percent(part) {
  if (part > 0 && part < 0.01) return "<1 %";
  return `${Math.floor(part * 100)} %`;
}

/** What a share is called, whatever is known of it. */
export function title(share) {
  if (share.title) return share.title;
  if (share.filename) return share.filename;
  if (share.url) return share.url.replace(/^https?:\/\/(www\.)?/, "");
  return share.source_kind === "text" ? "Text" : `Share ${share.share_id.slice(0, 8)}`;
}

const PLATFORMS = { tiktok: "TikTok", youtube: "YouTube", reddit: "Reddit", x: "X", web: "Web", podcast: "Podcast" };

/** Where a link leads. */
export function platformName(platform) {
  return PLATFORMS[platform] ?? words(platform);
}

/** A word for people, from a name of the API: `already-done` is Already done. */
export function words(name) {
  const text = String(name).replace(/[-_]/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * A text in parts, each with whether it is highlighted. The API counts characters, JavaScript counts halves of some of
 * them: an emoji before a hit would move all highlights behind it.
 */
export function highlighted(text, ranges) {
  const characters = Array.from(text);
  const parts = [];
  let at = 0;
  for (const [start, end] of [...ranges].sort((a, b) => a[0] - b[0])) {
    if (start < at || end <= start) continue;
    if (start > at) parts.push({ text: characters.slice(at, start).join(""), hit: false });
    parts.push({ text: characters.slice(start, end).join(""), hit: true });
    at = end;
  }
  if (at < characters.length) parts.push({ text: characters.slice(at).join(""), hit: false });
  return parts;
}

/** The index of the segment that is said at a moment: the last one that has begun; -1 before the first. */
export function segmentAt(segments, ms) {
  let [low, high] = [0, segments.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].start_ms <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
