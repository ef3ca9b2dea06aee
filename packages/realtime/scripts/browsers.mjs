// Checks that what is published runs in the lowest browsers that the guide names: code that had to be rewritten for them fails.
import { readFileSync } from "node:fs";
import { rolldown } from "rolldown";
import ts from "typescript";

const dist = new URL("../dist/", import.meta.url).pathname;
const guide = readFileSync(new URL("../../../docs/guides/browsers.md", import.meta.url), "utf8");
/** Newer than the lowest browsers, and not syntax. */
const TOO_NEW = /\.(at|findLast|findLastIndex|toSorted|toReversed|toSpliced|with)\(|Object\.(hasOwn|groupBy)|structuredClone|Promise\.(any|withResolvers)|\.any\(|AbortSignal\.(timeout|any)/;

const targets = (part) => {
  const row = new RegExp(`^\\| ${part} \\| ([\\d.]+) \\| ([\\d.]+) \\| ([\\d.]+) \\|$`, "m").exec(guide);
  if (!row) throw new Error(`docs/guides/browsers.md has no row ${part}`);
  return [`chrome${row[1]}`, `firefox${row[2]}`, `safari${row[3]}`];
};

/** The published file and what it imports, but for the fallback, which is loaded on demand and has lowest browsers of its own. */
const bundled = async (file) => {
  const external = (id) => id.endsWith("fallback.js") || (!id.startsWith("/") && !id.startsWith("."));
  const bundle = await rolldown({ input: `${dist}${file}`, external: (id, from) => from !== undefined && external(id), onLog: () => undefined });
  const { output } = await bundle.generate({});
  return output.map(({ code }) => code).join("\n");
};

const report = (file, what, isFine, code) => {
  const [tooNew] = TOO_NEW.exec(code) ?? [];
  console.log(`${file}: ${what}${tooNew ? `: FAILED, ${tooNew}` : isFine ? "" : ": FAILED, it has newer syntax"}`);
  if (!isFine || tooNew) process.exitCode = 1;
};

// By the language's edition, not by a table of browsers: those count errors in rare cases, as of optional calls with spread arguments.
// ES2021 is what Chrome 85, Firefox 79 and Safari 14 have.
const as = (code, target) => ts.transpileModule(code, { compilerOptions: { target, module: ts.ModuleKind.ESNext } }).outputText;
if (targets("client and hooks").join() !== "chrome85,firefox79,safari14") throw new Error("the guide names other browsers for ES2021");
for (const file of ["index.js", "react.js", "rows.js", "presence.js", "store.js", "query.js", "tanstack-db.js"]) {
  const code = await bundled(file);
  report(file, "ES2021", as(code, ts.ScriptTarget.ES2021) === as(code, ts.ScriptTarget.ESNext), code);
}
// Private methods and TextDecoderStream: Chrome 84, Firefox 105, Safari 15.
if (targets("with the fallback to Server-Sent Events").join() !== "chrome85,firefox105,safari15") throw new Error("the guide names other browsers for the fallback");
const code = await bundled("fallback.js");
report("fallback.js", "ES2022", as(code, ts.ScriptTarget.ES2022) === as(code, ts.ScriptTarget.ESNext), code);

const demo = readFileSync(new URL("../../../examples/flowcraft/web/vite.config.ts", import.meta.url), "utf8");
const missing = targets("the demo application").filter((browser) => !demo.includes(`"${browser}"`));
if (missing.length) {
  console.log(`the demo is not built for ${missing.join(", ")}`);
  process.exitCode = 1;
}
