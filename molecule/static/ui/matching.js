// How well a label fits what somebody typed, as GET /search orders workspaces. Pure.

const SEPARATORS = /[^\p{L}\p{N}]+/u;

/** 0 for the label itself, 1 for its beginning, 2 for that of a word, 3 for a part, 4 for words in any order; else null. */
export function rank(label, text) {
  const [name, wanted] = [label, text].map((one) => one.trim().toLowerCase().replace(/\s+/g, " "));
  if (name === wanted) return 0;
  if (name.startsWith(wanted)) return 1;
  const starts = name.split(SEPARATORS).map((word) => name.indexOf(word));
  if (starts.some((at) => name.startsWith(wanted, at))) return 2;
  if (name.includes(wanted)) return 3;
  return wanted.split(" ").every((word) => name.includes(word)) ? 4 : null;
}

/** The entries whose `label` fits, the best first; all of them for an empty text. */
export function best(entries, text, most) {
  if (!text.trim()) return entries.slice(0, most);
  const ranked = entries.map((entry) => [rank(entry.label, text), entry]).filter(([found]) => found !== null);
  return ranked.sort(([a], [b]) => a - b).slice(0, most).map(([, entry]) => entry);
}
