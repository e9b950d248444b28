// Rows of an answer as lines over time.

const LENGTH_MS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

/**
 * The lines of a timed answer: { x: seconds[], series: [{ label, values }] }, a line for each of `measures` or, where rows have dimensions
 * besides those that `fixed` names, for each of those of the first measure; the greatest `most` of them.
 *
 * A window without a row counts nothing, which of a sum is 0 and of what is reckoned from it (`gaps`) is no number. Before the first row
 * there is none either.
 */
export function lines(document, measures, { fixed = [], gaps = false, most = 8 } = {}) {
  const free = document.dimensions.filter((name) => !fixed.includes(name));
  const x = starts(document);
  const place = new Map(x.map((startMs, at) => [startMs, at]));
  const first = Math.min(...document.cells.map((cell) => cell.start_ms));
  const blank = () => x.map((startMs) => (gaps || startMs < first ? null : 0));
  const found = new Map();
  for (const cell of document.cells) {
    if (!place.has(cell.start_ms)) continue;
    for (const measure of free.length ? measures.slice(0, 1) : measures) {
      const label = free.length ? free.map((name) => cell[name] || "(none)").join(" · ") : measure;
      if (!found.has(label)) found.set(label, { label, values: blank() });
      found.get(label).values[place.get(cell.start_ms)] = cell[measure];
    }
  }
  const series = [...found.values()];
  if (free.length) series.sort((one, other) => sum(other.values) - sum(one.values));
  return { x: x.map((startMs) => startMs / 1000), series: series.slice(0, most), more: Math.max(0, series.length - most) };
}

/** Starts of its windows, up to the one that every source is in: of a later one some sources have told nothing yet. */
function starts(document) {
  const length = LENGTH_MS[document.window] ?? LENGTH_MS.minute;
  const end = Math.min(Date.parse(document.to), (document.as_of_ms ?? 0) + 1);
  const found = [];
  for (let startMs = Date.parse(document.from); startMs < end; startMs += length) found.push(startMs);
  return found;
}

/** The sum of those that are numbers. */
export function sum(values) {
  return values.reduce((total, value) => total + (value ?? 0), 0);
}

/** The greatest of those that are numbers, 0 without one. */
export function greatest(values) {
  return values.reduce((most, value) => Math.max(most, value ?? 0), 0);
}
