// The pure parts of the panel: availability in words and as runs, since when and why, and what Agent Cards say.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { readCard, percent, runsOf, span, summaryOf } from "../../canvas/static/canvas/js/panel/overview.js";
import { beginningOf, whyOf } from "../../canvas/static/canvas/js/panel/reasons.js";

const [FROM, TO] = ["2026-01-30T00:00:00Z", "2026-02-01T00:00:00Z"];
const HOUR = 3600;
const found = (fields) => ({ from: FROM, to: TO, ratio: 1, up_seconds: 48 * HOUR, down_seconds: 0, outages: [], strip: [], ...fields });

describe("availability", () => {
  it("is not rounded up to 100%", () => {
    assert.equal(percent(0.99999), "99.9%");
    assert.equal(percent(1), "100%");
    assert.equal(percent(0), "0%");
  });

  it("says of how much of the time it speaks, and how often the agent was down", () => {
    assert.equal(summaryOf(found({})), "100%, no outages");
    const down = found({ ratio: 0.5, up_seconds: HOUR, down_seconds: HOUR, outages: [{}] });
    assert.equal(summaryOf(down), "50% of the 2 h in which heartbeats were expected, 1 outage");
    assert.equal(summaryOf(found({ ratio: null, up_seconds: 0 })), "No heartbeats were expected in this time.");
  });

  it("is drawn as one part for each stretch with the same status", () => {
    const runs = runsOf(found({ strip: [null, "online", "online", "offline"] }));
    assert.deepEqual(
      runs.map(({ status, start, length }) => [status, start, length]),
      [[null, 0, 1], ["online", 1, 2], ["offline", 3, 1]],
    );
    assert.deepEqual([runs[1].from, runs[1].to], ["2026-01-30T12:00:00.000Z", "2026-01-31T12:00:00.000Z"]);
  });

  it("has times in the two largest units", () => {
    assert.equal(span(0), "0 s");
    assert.equal(span(59.9), "59 s");
    assert.equal(span(3700), "1 h 1 min");
    assert.equal(span(86400), "1 d");
  });
});

describe("the state of a workspace", () => {
  const event = (event_type, payload = {}, actor = "operator:op") => ({ event_type, payload, actor });

  it("begins with the newest event that changed it", () => {
    const offline = event("WORKSPACE_OFFLINE");
    assert.equal(beginningOf([event("WORKSPACE_ONLINE", { from: "online" }), offline]), offline);
    assert.equal(beginningOf([]), null);
  });

  it("has a reason: who did it, or what the platform saw", () => {
    const node = (state, workspace = {}) => ({ state, workspace: { status: state, ...workspace } });
    assert.equal(whyOf(node("paused"), event("WORKSPACE_PAUSED"), 0), "by op");
    assert.equal(whyOf(node("failed"), event("WORKSPACE_PROVISION_FAILED", { error: "no image" }), 0), "no image");
    assert.equal(whyOf(node("offline"), event("WORKSPACE_OFFLINE", { reason: "no heartbeat" }), 0), "no heartbeat");
    assert.equal(whyOf(node("paused"), null, 0), "");
  });
});

describe("an Agent Card", () => {
  it("is read in every shape that agents send, and never breaks", () => {
    const card = readCard({
      name: " Clerk ",
      provider: { organization: "Acme" },
      url: "https://a",
      preferredTransport: "JSONRPC",
      additionalInterfaces: [{ url: "https://b" }, { url: 3 }, null],
      skills: ["read", { name: "Write", description: "Letters" }, { id: "sum" }, {}, null],
    });
    assert.equal(card.name, "Clerk");
    assert.equal(card.provider, "Acme");
    assert.deepEqual(card.interfaces, ["JSONRPC at https://a", "https://b"]);
    assert.deepEqual(card.skills.map(({ name }) => name), ["read", "Write", "sum"]);
    for (const odd of [null, [], "text", { skills: 3, provider: 4 }]) assert.deepEqual(readCard(odd).skills, []);
  });
});
