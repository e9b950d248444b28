// Numbers with their units, and instants as the viewer's clock shows them.

import { el, mark, say } from "./dom.js";

const LOCALE = "en-GB"; // that of the page's words; the zone is the viewer's
const WHOLE = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat(LOCALE, { notation: "compact", maximumFractionDigits: 1 });
const TENTHS = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const FINE = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 2 });
const PERCENT = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const CLOCK = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const MINUTES = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", hour12: false });
const DAYS = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });

const LENGTHS = [["h", 3_600_000], ["min", 60_000], ["s", 1000], ["ms", 1]];

/** What stands for a number that is not known, or that does not exist. */
export const NONE = "–";

/** 1,234,567 */
export function whole(value) {
  return value === null || value === undefined ? NONE : WHOLE.format(value);
}

/** 1.2M, for axes. */
export function short(value) {
  return SHORT.format(value).replace("K", "k");
}

/** A number of this unit: of "ms" and "s" a duration, of "%" with two decimals. */
export function measured(value, unit = "") {
  if (value === null || value === undefined) return NONE;
  if (typeof value !== "number") return String(value);
  if (unit === "ms") return duration(value);
  if (unit === "s") return duration(value * 1000);
  if (unit === "%") return `${PERCENT.format(value)} %`;
  const text = Number.isInteger(value) || Math.abs(value) >= 1000 ? WHOLE.format(value) : FINE.format(value);
  return unit ? `${text} ${unit}` : text;
}

/** 5.4: for what stands below others of its kind. */
export function tenths(value) {
  return value === null || value === undefined ? NONE : TENTHS.format(value);
}

/** 345 ms, 5.4 s, 43 s, 12 min, 1,234 h */
export function duration(ms) {
  const [name, length] = LENGTHS.find(([, one]) => Math.abs(ms) >= one) ?? LENGTHS.at(-1);
  const value = ms / length;
  return `${length > 1 && Math.abs(value) < 9.95 ? TENTHS.format(value) : WHOLE.format(value)} ${name}`;
}

/** The same for axes: one unit for all of them, chosen by the greatest. */
export function axis(unit, greatest) {
  if (unit !== "ms" && unit !== "s") return (value) => (unit === "%" ? `${FINE.format(value)} %` : short(value));
  const inMs = unit === "ms" ? 1 : 1000;
  const [name, length] = LENGTHS.find(([, ms]) => greatest * inMs >= ms) ?? LENGTHS.at(-1);
  return (value) => `${short((value * inMs) / length)} ${name}`;
}

/** Steps of an axis of this unit: of durations such as are whole in their own unit; of others those that the chart has. */
export function steps(unit) {
  if (unit !== "ms" && unit !== "s") return undefined;
  const tens = [1, 10, 100, 1000, 10_000, 100_000].flatMap((ten) => [ten, 2 * ten, 5 * ten]);
  const clocks = [1000, 60_000].flatMap((length) => [1, 2, 5, 10, 15, 30].map((count) => count * length));
  const all = [...tens.slice(0, 9), ...clocks, ...tens.map((count) => count * 3_600_000)];
  return unit === "ms" ? all : all.filter((ms) => ms >= 1000).map((ms) => ms / 1000);
}

/** How long ago: 0.6 s, 34 s, 5 min */
export function age(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 120 ? `${Math.round(seconds)} s` : duration(seconds * 1000);
}

/** 21:05:12, or with its day when that is not today. */
export function clock(ms, { seconds = true } = {}) {
  const instant = new Date(ms);
  const time = (seconds ? CLOCK : MINUTES).format(instant);
  return instant.toDateString() === new Date().toDateString() ? time : `${DAYS.format(instant)} ${time}`;
}

/** What an axis shows at an instant, steps of `everyS` seconds apart: the time, and at midnight the day. */
export function tick(ms, everyS) {
  const instant = new Date(ms);
  if (everyS >= 86_400 || (instant.getHours() === 0 && instant.getMinutes() === 0 && instant.getSeconds() === 0)) return DAYS.format(instant);
  return (everyS < 60 ? CLOCK : MINUTES).format(instant);
}

/** An instant, with UTC behind it. */
export function time(ms, options) {
  const made = el("time");
  setTime(made, ms, options);
  return made;
}

/** Brings such an element to another instant; null is none. */
export function setTime(made, ms, options) {
  const utc = ms === null ? null : new Date(ms).toISOString();
  mark(made, "datetime", utc);
  mark(made, "title", utc && `${utc.slice(0, 19).replace("T", " ")} UTC`);
  say(made, utc === null ? NONE : clock(ms, options));
}

/** watched_ms → watched, startup_p95 → startup p95: a column's words. Its unit stands with its numbers. */
export function words(name) {
  return name.replace(/_(ms|s|pct|kbps)$/, "").replaceAll("_", " ");
}

/** Where a title's page is. */
export function titleAddress(title) {
  return `/title?${new URLSearchParams({ title })}`;
}
