// Registers the hook below: `node --import ./static_files.mjs`.
import { register } from "node:module";

register("./static_files_hook.mjs", import.meta.url);
