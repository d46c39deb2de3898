// Names of workspaces and skills as cards show them: two that begin alike differ at their ends, and two that are equal name their teams. Pure.

/** A longer name does not fit into the two lines of a small card. */
const FITS = 24;
/** So many equal letters at the beginning hide what differs. */
const ALIKE = 12;
const BEGINNING = 9;
const END = 15;
const BETWEEN_WORDS = /[\s_\-./:]+/;

/**
 * @param {Iterable<Node>} nodes all of them
 * @returns {{textOf: (node) => string, teamOf: (node) => string}} `teamOf`: "" unless another has the same name
 */
export function namesOf(nodes) {
  const equals = new Map();
  const alike = new Map();
  const count = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
  for (const { workspace, parent } of nodes) {
    count(equals, workspace.name);
    if (isLong(workspace.name)) count(alike, keyOf(parent, workspace.name));
  }
  return {
    textOf: ({ workspace: { name }, parent }) => (isLong(name) && alike.get(keyOf(parent, name)) > 1 ? withEnd(name) : name),
    teamOf: ({ workspace, parent }) => (equals.get(workspace.name) > 1 && parent ? parent.workspace.name : ""),
  };
}

/** The names of an agent's skills: objects with a name or an id, in some cards only names. */
export function skillsOf(agentCard) {
  const skills = Array.isArray(agentCard?.skills) ? agentCard.skills : [];
  return skills.map((skill) => skill?.name || skill?.id || skill).filter((skill) => typeof skill === "string" && skill.trim());
}

const isLong = (name) => name.length > FITS;

const keyOf = (parent, name) => `${parent?.id ?? ""} ${name.slice(0, ALIKE)}`;

/** "catalyst… search-indexer": a bit of the beginning, and as many whole words of the end as fit. */
function withEnd(name) {
  const [beginning] = name.slice(0, BEGINNING).split(BETWEEN_WORDS);
  const end = name.slice(-END);
  const [, ...words] = end.split(BETWEEN_WORDS);
  return `${beginning}… ${words.length ? end.slice(end.indexOf(words[0], end.search(BETWEEN_WORDS))) : end}`;
}
