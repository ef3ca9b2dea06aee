/** Prints, as JSON, what each entry point of the npm package exports: names, comments and declarations. */
import { readFileSync } from "node:fs";
import ts from "typescript";

const folder = "packages/realtime";
const entries = Object.entries(JSON.parse(readFileSync(`${folder}/package.json`, "utf8")).exports)
  .filter(([, at]) => at.types)
  .map(([name, at]) => [`@flowcraft/realtime${name.slice(1)}`, `${folder}/${at.types}`]);
const program = ts.createProgram(
  entries.map(([, file]) => file),
  { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
);
const checker = program.getTypeChecker();

const declared = (symbol) => {
  const real = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const nodes = (real.declarations ?? []).map((node) => (ts.isVariableDeclaration(node) ? node.parent.parent : node));
  return {
    name: symbol.name,
    comment: ts.displayPartsToString(real.getDocumentationComment(checker)).trim(),
    text: nodes.map((node) => node.getText().replace(/^export (declare )?/, "")).join("\n"),
  };
};

const names = entries.map(([name, file]) => {
  const source = program.getSourceFile(file);
  if (!source) throw new Error(`${file} is not there; run \`make build\``);
  return { entry: name, names: checker.getExportsOfModule(checker.getSymbolAtLocation(source)).map(declared) };
});
console.log(JSON.stringify(names));
