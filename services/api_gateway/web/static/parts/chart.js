// Stacked bars over time by uPlot, with the same figures as a table for those who do not see the picture.

import { h } from "../dom.js";
import { money } from "../format.js";

const HEIGHT = 220;

async function library() {
  if (!document.getElementById("uplot-css")) {
    document.head.append(h("link", { id: "uplot-css", rel: "stylesheet", href: "/static/vendor/uplot-1.6.32.css" }));
  }
  return (await import("../vendor/uplot-1.6.32.js")).default;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * Draw into `node`. `times` are seconds since 1970; `layers` [{ name, colour, values }] in micro-dollars, the lowest
 * first, where `colour` names a property of the style sheet. `bucket` is "hour" or "day".
 */
export async function stackedBars(node, { times, layers, bucket, signal }) {
  const UPlot = await library();
  if (signal.aborted) return;
  const sums = times.map(() => 0);
  const tops = layers.map((layer) => layer.values.map((value, index) => (sums[index] += value)));
  const box = h("div", { class: "chart", role: "img", "aria-label": `Spend per ${bucket}; the same figures are in the table below` });
  node.replaceChildren(box, legend(layers), table({ times, layers, bucket }));
  let plot = null;

  function draw() {
    plot?.destroy();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const zone = (seconds) => UPlot.tzDate(new Date(seconds * 1000), "UTC"); // buckets are UTC, as caps are
    // The highest is drawn first, so that each lower one covers its own part of it.
    const series = layers.map((layer, index) => ({ label: layer.name, fill: colour(layer.colour), width: 0, points: { show: false }, paths: UPlot.paths.bars({ size: [0.7, 40] }), values: tops[index] })).reverse();
    plot = new UPlot(
      {
        width: Math.max(240, box.clientWidth), height: HEIGHT, tzDate: zone, legend: { show: false }, cursor: { show: false },
        scales: { x: { range: (_, low, high) => spread(low, high, bucket) }, y: { range: (_, __, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [{ ...axis, grid: { show: false }, values: (_, splits) => splits.map((second) => written(second, bucket)) }, { ...axis, size: 76, values: (_, splits) => splits.map((micro) => money(Math.round(micro))) }],
        series: [{}, ...series.map(({ values, ...one }) => one)],
      },
      [times, ...series.map((one) => one.values)],
      box,
    );
  }

  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", draw, { signal });
  const size = new ResizeObserver(() => plot?.setSize({ width: Math.max(240, box.clientWidth), height: HEIGHT }));
  size.observe(box);
  signal.addEventListener("abort", () => {
    size.disconnect();
    plot?.destroy();
  });
  draw();
}

/** A place on the axis: the hour, or the day; midnight of a chart by hours says which day begins. */
function written(second, bucket) {
  const time = new Date(second * 1000);
  const hour = time.toISOString().slice(11, 16);
  const date = time.toLocaleDateString(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
  return bucket === "day" || hour === "00:00" ? date : hour;
}

function whole(second, bucket) {
  return new Date(second * 1000).toISOString().slice(0, bucket === "day" ? 10 : 16).replace("T", " ");
}

function spread(low, high, bucket) {
  const half = (bucket === "day" ? 86400 : 3600) / 2;
  return [low - half, high + half];
}

function legend(layers) {
  return h("ul", { class: "legend", "aria-hidden": "true" }, layers.map((layer, index) => h("li", {}, h("span", { class: `swatch swatch-${index}` }), layer.name)));
}

function table({ times, layers, bucket }) {
  const rows = times.map((time, index) => [time, layers.map((layer) => layer.values[index])]).filter(([, values]) => values.some((value) => value > 0));
  return h("details", {}, h("summary", {}, "As a table"), h("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": `Spend per ${bucket}` },
    h("table", {}, h("caption", { class: "visually-hidden" }, `Spend per ${bucket} (UTC)`),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, `${bucket === "day" ? "Day" : "Hour"} (UTC)`), layers.map((layer) => h("th", { scope: "col", class: "number" }, layer.name)))),
      h("tbody", {}, rows.map(([time, values]) => h("tr", {}, h("th", { scope: "row" }, whole(time, bucket)), values.map((value) => h("td", { class: "number" }, money(value)))))))));
}
