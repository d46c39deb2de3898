// All static files are below one folder when they are served: "../../ui/time.js" is molecule/static/ui/time.js.
const UI = new URL("../../molecule/static/ui/", import.meta.url);

export function resolve(specifier, context, next) {
  const [, file] = /^(?:\.\.\/)+ui\/(.+)$/.exec(specifier) ?? [];
  return next(file ? new URL(file, UI).href : specifier, context);
}
