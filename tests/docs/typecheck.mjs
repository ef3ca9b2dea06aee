/** Type-checks the TypeScript of one page after the other in one process: a folder a line in, its complaints out. */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import ts from "typescript";

const [root, answers] = process.argv.slice(2);
const { config } = ts.readConfigFile(`${root}/tsconfig.base.json`, ts.sys.readFile);
const { options: base } = ts.convertCompilerOptionsFromJson(config.compilerOptions, root);
const files = new Map(); // the library's declarations are read once for all pages

const checked = (folder, names) => {
  const options = {
    ...base,
    noEmit: true,
    noUnusedLocals: false, // a snippet may end before it uses what it has
    noUnusedParameters: false,
    jsx: ts.JsxEmit.ReactJSX,
    lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    types: ["node", "react", "react-dom"],
    typeRoots: [`${root}/node_modules/@types`],
    paths: { "@/*": [`${folder}/*`] },
    erasableSyntaxOnly: false,
    verbatimModuleSyntax: false,
  };
  const host = ts.createCompilerHost(options, true);
  const read = host.getSourceFile;
  host.getSourceFile = (name, ...rest) => {
    if (name.startsWith(folder)) return read(name, ...rest);
    if (!files.has(name)) files.set(name, read(name, ...rest));
    return files.get(name);
  };
  const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram(names, options, host));
  const text = ts.formatDiagnostics(diagnostics, {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => folder,
    getNewLine: () => "\n",
  });
  return text.trim();
};

for await (const line of createInterface({ input: process.stdin })) {
  const { folder, names } = JSON.parse(line);
  writeSync(Number(answers), `${JSON.stringify(checked(folder, names))}\n`);
}
