// What every page of the admin does.

import { startAges } from "../ui/ages.js";
import { startKeys } from "../ui/keys.js";
import { startLive } from "../ui/live.js";
import { startPalette } from "../ui/searching.js";
import { startTabIcon } from "../ui/tab_icon.js";

startAges();
startLive();
startTabIcon();
const search = startPalette();
if (search) {
  startKeys([
    { keys: "/", label: "Search", run: search },
    { keys: "Ctrl+K", label: "Search, also while typing", run: search },
  ]);
}
