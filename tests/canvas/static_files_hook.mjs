// All static files are below one folder when they are served: "../../ui/time.js" is molecule/static/ui/time.js.
// SCRIPTS names a folder that has the scripts as they are served in production; else they are those of the project.
import { pathToFileURL } from "node:url";

const PROJECT = new URL("../../", import.meta.url).href;
const SCRIPTS = process.env.SCRIPTS ? `${pathToFileURL(process.env.SCRIPTS).href}/` : PROJECT;

export async function resolve(specifier, context, next) {
  const [, file] = /^(?:\.\.\/)+ui\/(.+)$/.exec(specifier) ?? [];
  const found = await next(file ? `${PROJECT}molecule/static/ui/${file}` : specifier, context);
  return { ...found, url: found.url.replace(/^(.*)(?=(canvas|molecule|registry)\/static\/)/, SCRIPTS) };
}
