// What an Agent Card says, in all the shapes that agents send. Pure.

const text = (value) => (typeof value === "string" ? value.trim() : "");
const list = (value) => (Array.isArray(value) ? value : []);

/** @returns {{name, description, version, provider, interfaces: string[], skills: {name, description}[]}} texts may be "" */
export function readCard(card) {
  return {
    name: text(card?.name),
    description: text(card?.description),
    version: text(card?.version),
    provider: text(card?.provider?.organization) || text(card?.provider),
    interfaces: [...new Set(interfacesOf(card ?? {}).map(described))],
    skills: list(card?.skills).map(skillOf).filter(({ name }) => name),
  };
}

function interfacesOf({ url, preferredTransport, supportedInterfaces, additionalInterfaces }) {
  const own = text(url) ? [{ url, transport: preferredTransport }] : [];
  return [...own, ...list(supportedInterfaces), ...list(additionalInterfaces)].filter((one) => text(one?.url));
}

/** "JSONRPC 1.0 at https://…" */
function described({ url, protocolBinding, transport, protocolVersion }) {
  const how = [text(protocolBinding) || text(transport), text(protocolVersion)].filter(Boolean).join(" ");
  return how ? `${how} at ${text(url)}` : text(url);
}

function skillOf(skill) {
  if (typeof skill === "string") return { name: skill.trim(), description: "" };
  return { name: text(skill?.name) || text(skill?.id) || text(skill?.skill_id), description: text(skill?.description) };
}
