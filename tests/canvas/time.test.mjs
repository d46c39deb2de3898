// Ages and times. Node reads TZ anew when it is set.

import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { absolute, age, moment, serverNow, setServerTime } from "../../molecule/static/ui/time.js";

process.env.TZ = "Europe/Berlin";

const SUMMER = "2026-10-25T00:30:00Z";
const WINTER = "2026-10-25T01:30:00Z";
const MAY = new Date("2026-05-01");

describe("time", () => {
  it("shows ages in the largest unit", () => {
    const ages = [-5000, 999, 12000, 200000, 7300000, 2e8].map(age);
    assert.deepEqual(ages, ["now", "now", "12 s ago", "3 min ago", "2 h ago", "2 d ago"]);
  });

  it("names the zone, so that the hour that comes twice is not the same", () => {
    assert.match(moment(SUMMER, MAY), /2:30:00.*(GMT\+2|CEST)/);
    assert.match(moment(WINTER, MAY), /2:30:00.*(GMT\+1|CET)/);
  });

  it("has local and ISO time for tooltips", () => {
    assert.match(absolute(SUMMER), /2026.* 0?2:30:00.*(GMT\+2|CEST) \(2026-10-25T00:30:00\.000Z\)$/);
    assert.match(absolute(WINTER), /2026.* 0?2:30:00.*(GMT\+1|CET) \(2026-10-25T01:30:00\.000Z\)$/);
  });

  it("names the year only when it is not the current one", () => {
    assert.doesNotMatch(moment("2026-01-31T12:00:00Z", MAY), /2026/);
    assert.match(moment("2025-01-31T12:00:00Z", MAY), /2025/);
  });

  it("is the server's where this machine's clock is wrong", () => {
    const here = Date.now();
    setServerTime(new Date(here - 3600000).toUTCString(), here);
    assert.ok(Math.abs(serverNow() - (Date.now() - 3600000)) < 2000);
    setServerTime(new Date(here - 2000).toUTCString(), here);
    assert.ok(Math.abs(serverNow() - Date.now()) < 1000);
  });
});
