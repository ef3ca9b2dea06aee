// Exit 0 when node_modules holds exactly what package-lock.json names, so that a reinstall can be skipped.
import { existsSync, readFileSync } from "node:fs";

/** @param {string} path */
function installed(path) {
  const entries = Object.entries(JSON.parse(readFileSync(path, "utf8")).packages);
  return new Map(entries.filter(([name]) => name.startsWith("node_modules/")));
}

const inside = "node_modules/.package-lock.json";
if (!existsSync(inside)) process.exit(1);
const locked = installed("package-lock.json");
const present = installed(inside);
for (const [name, entry] of locked) {
  const found = present.get(name);
  const same = found && found.version === entry.version && found.integrity === entry.integrity && existsSync(name);
  if (!same && !entry.optional) process.exit(1); // optional: another platform's binaries
}
for (const name of present.keys()) if (!locked.has(name)) process.exit(1);
