// TypeScript 7, whose parser runs in a process of its own, with the functions of the parser of TypeScript 5 and 6.
//
// Its package marks this interface as unstable. What fails here is reported as a parser that cannot be called.
import { pathToFileURL } from "node:url";

/** Start the parser of a project, and let it read these files. `require` finds the packages of the project. */
export async function typeScriptSeven(require, root, names) {
  const load = (name) => import(pathToFileURL(require.resolve(`typescript/unstable/${name}`)));
  const [{ API }, ast] = await Promise.all([load("sync"), load("ast")]);
  const api = new API({ cwd: root });
  const snapshot = api.updateSnapshot({ openFiles: names });
  const isFunctionLike = (node) => ast.isFunctionLikeDeclaration(node) || ast.isFunctionTypeNode(node) || ast.isMethodSignatureDeclaration(node);

  return {
    ...ast,
    isParameter: ast.isParameterDeclaration,
    isFunctionLike,
    isStringLiteralLike: (node) => ast.isStringLiteral(node) || ast.isNoSubstitutionTemplateLiteral(node),
    canHaveModifiers: () => true,
    getModifiers: (node) => node.modifiers,
    forEachChild: (node, see) => node.forEachChild(see),
    flattenDiagnosticMessageText: (text) => text,
    createSourceFile: (full) => {
      const { program } = snapshot.getDefaultProjectForFile(full);
      const source = program.getSourceFile(full);
      const diagnostics = program.getSyntacticDiagnostics(full);
      return Object.assign(source, { parseDiagnostics: diagnostics.map(({ pos, text }) => ({ start: pos, messageText: text })) });
    },
    close: () => api.close(),
  };
}
