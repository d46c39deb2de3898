// `node --expose-internals same_meaning.mjs A B`: prints the scripts of folder A that folder B has with another meaning.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The parser that Node itself uses.
const { parse } = createRequire(import.meta.url)("internal/deps/acorn/acorn/dist/acorn");
const [one, other, ...scripts] = process.argv.slice(2);
const WHERE = new Set(["start", "end", "raw"]);

/** What a script says, without where it says it. */
function meaning(path) {
  const tree = parse(readFileSync(path, "utf8"), { ecmaVersion: "latest", sourceType: "module" });
  return JSON.stringify(tree, (key, value) => (WHERE.has(key) && typeof value !== "object" ? undefined : value));
}

for (const script of scripts) {
  try {
    if (meaning(`${one}/${script}`) !== meaning(`${other}/${script}`)) console.log(script);
  } catch (failure) {
    console.log(`${script}: ${failure.message}`);
  }
}
