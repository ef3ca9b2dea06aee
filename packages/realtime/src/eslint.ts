/** An ESLint rule: code must keep the function that ends a subscription. The rule needs typed linting. */
import type { ESLint, Linter, Rule, Scope } from "eslint";
import type * as ts from "typescript";

type Node = Rule.Node;
type Services = { program?: ts.Program | null; esTreeNodeToTSNodeMap?: { get: (node: Node) => ts.Node } };
type Kept = { variable: Scope.Variable | undefined; name: string };
type Lost = { messageId: "dropped" | "kept" | "rendering"; data?: { name: string } };

const EFFECT = /^use(Layout|Insertion)?Effect$/;
const HOOK = /^use[A-Z]/;
const COMPONENT_OR_HOOK = /^(use)?[A-Z]/;
/** Callbacks of these run while rendering. */
const RENDERS = ["useMemo", "useState", "memo", "forwardRef"];
/** Callbacks of these may return a value, which is discarded. */
const FORGETS = ["then", "catch", "finally", "setTimeout", "setInterval", "addEventListener"];
/** Expressions with the value of their operand. */
const PASSES: readonly string[] = [
  "AwaitExpression", "ChainExpression", "ConditionalExpression", "LogicalExpression", "TSAsExpression", "TSNonNullExpression", "TSSatisfiesExpression",
];
/** Nodes that test or discard a value, without passing it on. */
const LOOKS: readonly string[] = ["ConditionalExpression", "ExpressionStatement", "IfStatement", "LogicalExpression", "UnaryExpression"];
const OURS = /[\\/]realtime[\\/](dist|src)[\\/]types(\.d)?\.ts$/;

const rule: Rule.RuleModule = {
  meta: {
    type: "problem",
    docs: { description: "Return or call the function that ends a subscription" },
    schema: [],
    messages: {
      dropped:
        "this drops the function that ends the subscription, which then outlives the component; return it: `useEffect(() => subscribe(…), […])`",
      kept: "{{name}} ends the subscription, and nothing calls it later; return it, or a cleanup that calls it: `return () => {{name}}()`",
      rendering: "this subscribes again with every render; subscribe in an effect, or use useChannel(…)",
      untyped: "this rule reads types; set languageOptions.parserOptions.projectService, as typescript-eslint's typed linting does",
    },
  },
  create(context) {
    const services = context.sourceCode.parserServices as Services;
    const { program, esTreeNodeToTSNodeMap: nodes } = services;
    if (!program || !nodes) return { Program: (node) => context.report({ node, messageId: "untyped" }) };
    const checker = program.getTypeChecker();

    /** Whether a callback's return value is discarded. */
    const isForgotten = (callback: Node): boolean => {
      const { parent } = callback;
      if (parent?.type === "CallExpression" && parent.callee !== callback && FORGETS.includes(nameOfCallee(parent))) return true;
      const expected = checker.getContextualType(nodes.get(callback) as ts.Expression);
      return (expected?.getNonNullableType().getCallSignatures() ?? []).some((signature) => checker.typeToString(signature.getReturnType()) === "void");
    };

    /** Whether a value is lost, kept in a variable, or handed on. */
    const fateOf = (call: Node): "lost" | "handed on" | Kept => {
      const node = outermost(call);
      const { parent } = node;
      if (parent?.type === "ExpressionStatement" || (parent?.type === "UnaryExpression" && parent.operator === "void")) return "lost";
      if (isResult(node)) return isForgotten(functionAround(node) ?? node) ? "lost" : "handed on";
      if (parent?.type === "VariableDeclarator" && parent.id.type === "Identifier") {
        return { variable: context.sourceCode.getDeclaredVariables(parent)[0], name: parent.id.name };
      }
      if (parent?.type !== "AssignmentExpression" || parent.left.type !== "Identifier") return "handed on";
      const { left } = parent;
      const references = context.sourceCode.getScope(parent).references;
      return { variable: references.find((one) => one.identifier === left)?.resolved ?? undefined, name: left.name };
    };

    const isEnded = ({ variable }: Kept, call: Node): boolean =>
      variable === undefined || variable.references.some((use) => use.isRead() && ends(use.identifier as Node, call));

    const lost = (call: Node): Lost | undefined => {
      const around = functionAround(call);
      if (around === undefined) return undefined; // at module level: the subscription lasts as long as the page
      if (isRendering(around)) return { messageId: "rendering" };
      const fate = fateOf(call);
      if (fate === "lost") return { messageId: "dropped" };
      return fate === "handed on" || isEnded(fate, call) ? undefined : { messageId: "kept", data: { name: fate.name } };
    };

    return {
      CallExpression(node) {
        if (HOOK.test(nameOfCallee(node)) || !isUnsubscribe(checker.getTypeAtLocation(nodes.get(node)))) return;
        const found = lost(node);
        if (found) context.report({ node, ...found });
      },
    };
  },
};

const plugin: ESLint.Plugin = { meta: { name: "@flowcraft/realtime" }, rules: { "no-lost-unsubscribe": rule } };

/** The configuration that enables the rule. */
export const recommended: Linter.Config = {
  name: "@flowcraft/realtime/recommended",
  plugins: { "@flowcraft/realtime": plugin },
  rules: { "@flowcraft/realtime/no-lost-unsubscribe": "error" },
};

function isUnsubscribe(type: ts.Type): boolean {
  if (type.isUnion()) return type.types.some(isUnsubscribe);
  const symbol = type.getSymbol();
  return symbol?.name === "Unsubscribe" && (symbol.declarations ?? []).some((one) => OURS.test(one.getSourceFile().fileName));
}

/** The outermost expression with the value of this one, through casts, conditions and alternatives. */
function outermost(node: Node): Node {
  const { parent } = node;
  if (!parent || !PASSES.includes(parent.type)) return node;
  const isTest = parent.type === "ConditionalExpression" ? parent.test === node : parent.type === "LogicalExpression" && parent.operator === "&&" && parent.left === node;
  return isTest ? node : outermost(parent);
}

function isResult(node: Node): boolean {
  const { parent } = node;
  return parent?.type === "ReturnStatement" || (parent?.type === "ArrowFunctionExpression" && parent.body === node);
}

/** Whether a use of the variable ends the subscription later than `call`, or hands it on to code that may. */
function ends(use: Node, call: Node): boolean {
  const node = outermost(use);
  const { parent } = node;
  if (parent?.type !== "CallExpression" || parent.callee !== node) return !LOOKS.includes(parent?.type ?? "");
  return functionAround(parent) !== functionAround(call) || !isInEffect(call); // a call in the same effect does not count: it is not a cleanup
}

function functionAround(node: Node): Node | undefined {
  for (let at: Node | null = node.parent; at; at = at.parent) if (isFunction(at)) return at;
  return undefined;
}

function isFunction(node: Node): boolean {
  return node.type === "FunctionDeclaration" || node.type === "FunctionExpression" || node.type === "ArrowFunctionExpression";
}

function isInEffect(node: Node): boolean {
  for (let at = functionAround(node); at; at = functionAround(at)) if (EFFECT.test(nameOfCaller(at))) return true;
  return false;
}

/** Whether a function is a component or a hook, or runs while one renders. */
function isRendering(around: Node): boolean {
  if (RENDERS.includes(nameOfCaller(around))) return true;
  const { parent } = around;
  const named = around.type === "FunctionDeclaration" || around.type === "FunctionExpression" ? around.id : undefined;
  const id = named ?? (parent?.type === "VariableDeclarator" ? parent.id : undefined);
  return id?.type === "Identifier" && COMPONENT_OR_HOOK.test(id.name);
}

/** The name of the function whose first argument is this callback. */
function nameOfCaller(callback: Node): string {
  const { parent } = callback;
  return parent?.type === "CallExpression" && parent.arguments[0] === callback ? nameOfCallee(parent) : "";
}

function nameOfCallee({ callee }: { callee: unknown }): string {
  const named = callee as { type: string; name?: string; property?: { name?: string } };
  return (named.type === "MemberExpression" ? named.property?.name : named.name) ?? "";
}
