/** The rule of `@flowcraft/realtime/eslint`: what ends its subscription is left alone, what loses the end is found once. */
import { RuleTester } from "eslint";
import ts from "typescript-eslint";
import { describe, it } from "vitest";
import { recommended } from "../src/eslint.js";

const NAME = "no-lost-unsubscribe";
const IMPORTS = `
import * as React from "react";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { Client, Unsubscribe } from "@flowcraft/realtime";
import { useChannel, useChannelState, useWebSocket } from "@flowcraft/realtime/react";
import * as rt from "@flowcraft/realtime/react";
import { client as shared, later, log, makeFeed } from "./tests/eslint/shared.js";
`;
const hook = (body: string) => `${IMPORTS}export function useIt(f: () => void, ids: string[], id: string | null) {
const { subscribe } = useWebSocket();
${body}
}`;

const SOUND = {
  returned: "useEffect(() => subscribe('system', f), [subscribe]);",
  "returned from a block": "useEffect(() => { return subscribe('system', f); }, [subscribe]);",
  "returned or nothing": "useEffect(() => (id ? subscribe('system', f) : undefined), [id]);",
  "returned after a guard": "useEffect(() => { if (!id) return; return subscribe('system', f); }, [id]);",
  "kept and returned": "useEffect(() => { const stop = subscribe('system', f); return stop; }, []);",
  "kept and called": "useEffect(() => { const stop = subscribe('system', f); return () => stop(); }, []);",
  "called among others":
    "useEffect(() => { const stop = subscribe('system', f); const gone = () => { f(); stop(); }; return gone; }, []);",
  "set later":
    "useEffect(() => { let stop: (() => void) | undefined; void later().then(() => { stop = subscribe('system', f); }); return () => stop?.(); }, []);",
  several: "useEffect(() => { const stops = ids.map(() => subscribe('system', f)); return () => stops.forEach((stop) => stop()); }, []);",
  pushed:
    "useEffect(() => { const all: (() => void)[] = []; all.push(subscribe('system', f)); return () => all.forEach((stop) => stop()); }, []);",
  "in a ref":
    "const ref = useRef<() => void>(undefined); useEffect(() => { ref.current = subscribe('system', f); return () => ref.current?.(); }, []);",
  "an external store": "useSyncExternalStore((told) => subscribe('system', told), f);",
  "a function of the hook": "const go = useCallback(() => subscribe('system', f), [subscribe]); useEffect(() => go(), [go]);",
  "given to the effect": "const go = useCallback(() => subscribe('system', f), []); useEffect(go, [go]);",
  "by the name of React": "React.useEffect(() => subscribe('system', f), [subscribe]);",
  "of another file": "const feed = useMemo(() => makeFeed(shared), []); useEffect(() => feed.open(), [feed]);",
  "no subscription": "const feed = makeFeed(shared); feed.name(); shared.connection.subscribe(f);",
  "a namesake": "const store = { subscribe: (name: string, g: () => void) => g }; useEffect(() => { store.subscribe('system', f); }, []);",
  "a hook": "useChannel('system', (event) => log(event));",
  "turned off": "useChannel(id ? 'system' : null, f);",
  "cast and returned": "useEffect(() => subscribe('system', f) as () => void, [subscribe]);",
  "the first of two": "useEffect(() => { const stop = (id && subscribe('system', f)) || f; return stop; }, [id]);",
  "ended in the same function": "const once = () => { const stop = subscribe('system', f); f(); stop(); }; return once;",
};

const LOST = {
  dropped: ["dropped", "useEffect(() => { subscribe('system', f); }, []);"],
  voided: ["dropped", "useEffect(() => void subscribe('system', f), []);"],
  "in a layout effect": ["dropped", "useLayoutEffect(() => { subscribe('system', f); }, []);"],
  "by the name of React": ["dropped", "React.useEffect(() => { subscribe('system', f); }, []);"],
  "for each": ["dropped", "useEffect(() => ids.forEach(() => subscribe('system', f)), []);"],
  "after a promise": ["dropped", "useEffect(() => { void later().then(() => subscribe('system', f)); }, []);"],
  "in a timer": ["dropped", "useEffect(() => { setTimeout(() => subscribe('system', f), 1); }, []);"],
  "of the socket": ["dropped", "const ws = useWebSocket(); useEffect(() => { ws.subscribe('system', f); }, []);"],
  renamed: ["dropped", "const { subscribe: follow } = useWebSocket(); useEffect(() => { follow('system', f); }, []);"],
  "of a namespace": ["dropped", "const c = rt.useClient(); useEffect(() => { c.subscribe('system', f); }, []);"],
  "of a shared client": ["dropped", "useEffect(() => { shared.subscribe('system', f); }, []);"],
  "of a function": ["dropped", "const go = useCallback(() => subscribe('system', f), []); useEffect(() => { go(); }, [go]);"],
  "of another file's object": [
    "dropped",
    "const feed = useMemo(() => makeFeed(shared), []); useEffect(() => { feed.open(); }, [feed]);",
  ],
  "of a function that says so": [
    "dropped",
    "const start = (): Unsubscribe => { const stop = shared.subscribe('system', f); return () => { stop(); f(); }; }; useEffect(() => { start(); }, []);",
  ],
  "in one branch": ["dropped", "useEffect(() => { id ? subscribe('system', f) : f(); }, [id]);"],
  "behind a condition": ["dropped", "useEffect(() => { id && subscribe('system', f); }, [id]);"],
  kept: ["kept", "useEffect(() => { const stop = subscribe('system', f); return undefined; }, []);"],
  "called at once": ["kept", "useEffect(() => { const stop = subscribe('system', f); stop(); }, []);"],
  "looked at": ["kept", "useEffect(() => { const stop = subscribe('system', f); if (stop) f(); }, []);"],
  "kept inside a promise": ["kept", "useEffect(() => { void (async () => { const stop = subscribe('system', f); })(); }, []);"],
  "while rendering": ["rendering", "subscribe('system', f);"],
  "kept while rendering": ["rendering", "const stop = subscribe('system', f); useEffect(() => stop, []);"],
  "in a memo": ["rendering", "useMemo(() => subscribe('system', f), []);"],
  "in a state": ["rendering", "useState(() => subscribe('system', f));"],
  "in a callback": ["dropped", "const go = useCallback(() => { subscribe('system', f); }, []); return go;"],
  "in a click": ["dropped", "return { onClick: () => { subscribe('system', f); } };"],
  "in a click, as its result": ["dropped", "return <button onClick={() => subscribe('system', f)} />;"],
  "of a parameter": ["dropped", "const go = (c: Client) => { c.subscribe('system', f); }; return go;"],
  "of a part of a parameter": [
    "dropped",
    "const go = ({ client }: { client: Client }) => { client.subscribe('system', f); }; return go;",
  ],
} as const;

RuleTester.describe = describe;
RuleTester.it = it;
const rule = recommended.plugins?.["@flowcraft/realtime"]?.rules?.[NAME];
if (rule === undefined) throw new Error(`the plugin has no rule ${NAME}`);

const root = new URL("..", import.meta.url).pathname;
const languageOptions = {
  parser: ts.parser,
  parserOptions: {
    ecmaFeatures: { jsx: true },
    projectService: { allowDefaultProject: ["*.tsx"], defaultProject: "tsconfig.test.json" },
    tsconfigRootDir: root,
  },
};
const filename = `${root}it.tsx`;

new RuleTester({ languageOptions }).run(NAME, rule, {
  valid: [
    ...Object.entries(SOUND).map(([name, body]) => ({ name, code: hook(body), filename })),
    { name: "of a module", code: `${IMPORTS}shared.subscribe("system", () => log());`, filename },
  ],
  invalid: Object.entries(LOST).map(([name, [messageId, body]]) => ({ name, code: hook(body), filename, errors: [{ messageId }] })),
});

new RuleTester().run(`${NAME}, without types`, rule, {
  valid: [],
  invalid: [{ name: "is not silent", code: "client.subscribe('system', f);", errors: [{ messageId: "untyped" }] }],
});
