// The pure parts of the palette and of the keys: how labels are found, what arrows choose, what a sequence of keys does.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { pressed } from "../../molecule/static/ui/keys.js";
import { best, rank } from "../../molecule/static/ui/matching.js";
import { stepped } from "../../molecule/static/ui/palette.js";

describe("a label", () => {
  it("fits the better, the earlier the text is in it", () => {
    const ranks = ["Audit log", "audit", "log", "dit l", "log audit", "login"].map((text) => rank("Audit log", text));
    assert.deepEqual(ranks, [0, 1, 2, 3, 4, null]);
  });

  it("has words between any signs, and letters of any language", () => {
    assert.equal(rank("Catalyst-devforge product", "devforge"), 2);
    assert.equal(rank("Änderungen löschen", "LÖSCH"), 2);
    assert.equal(rank("a.b(c", "(c"), 3);
  });

  it("is found among others, the best first, and keeps the order of equals", () => {
    const labels = ["Secret access log", "Audit log", "Log out", "Users"].map((label) => ({ label }));
    const found = (text, most = 9) => best(labels, text, most).map(({ label }) => label);
    assert.deepEqual(found("log"), ["Log out", "Secret access log", "Audit log"]);
    assert.deepEqual(found("log", 1), ["Log out"]);
    assert.deepEqual(found("  ").length, 4);
    assert.deepEqual(found("nothing"), []);
  });
});

describe("arrows", () => {
  it("go round", () => {
    assert.equal(stepped(["a", "b", "c"], "a", 1), "b");
    assert.equal(stepped(["a", "b", "c"], "c", 1), "a");
    assert.equal(stepped(["a", "b", "c"], "a", -1), "c");
    assert.equal(stepped([], undefined, 1), null);
  });
});

describe("keys", () => {
  const bindings = ["/", "g o", "g w", "w"].map((keys) => ({ keys }));
  const after = (...keys) => keys.reduce(({ before }, key) => pressed(before, key, bindings), { before: [] });

  it("act alone or in a sequence", () => {
    assert.equal(after("/").found.keys, "/");
    assert.deepEqual(after("g"), { before: ["g"], found: undefined });
    assert.equal(after("g", "w").found.keys, "g w");
    assert.equal(after("w").found.keys, "w");
  });

  it("begin again after a sequence that is none", () => {
    assert.equal(after("g", "/").found.keys, "/");
    assert.equal(after("g", "g", "o").found.keys, "g o");
    assert.deepEqual(after("g", "x"), { before: [], found: undefined });
  });
});
