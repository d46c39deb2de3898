// The header of a request for a page of which a script takes parts. Its messages, and a token that is shown once, wait for
// the next page that somebody sees (registry/admin/live.py).

export const BACKGROUND = { "X-Background": "1" };
