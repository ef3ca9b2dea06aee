// The HTTP side of the service: what it answers is `unknown` until a decoder has looked at it.
import type { Announcement, LogLine, RunUpdate } from "@/realtime.gen";

/** State, and the position in the log at which it was read. */
export interface Hydrated<T> {
  readonly data: T;
  readonly cursor: string;
}

/** The transaction that changed something: `await client.settled(xid)` resolves when its events are here. */
export interface Written {
  readonly xid: string;
}

export interface RunDetails {
  readonly run: RunUpdate;
  readonly log: readonly LogLine[];
}

/** One run as the database counts it, independent of any event. */
export interface RunVersion {
  readonly run_id: string;
  readonly number: number;
  readonly version: number;
}

/** The service refused, or could not be reached. `message` is a sentence for users. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: string;
  readonly status: number;

  constructor(message: string, code: string, status: number) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** The sentence for users about something that was thrown. */
export function explain(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}

export const api = {
  run: (runId: string) => get(`/api/runs/${encodeURIComponent(runId)}`, hydrated(runDetails)),
  audit: () => get("/api/audit", audited),

  trigger: (flowId: string) => post(`/api/flows/${encodeURIComponent(flowId)}/runs`, triggered),
  pause: (flowId: string) => post(`/api/flows/${encodeURIComponent(flowId)}/pause`, written),
  resume: (flowId: string) => post(`/api/flows/${encodeURIComponent(flowId)}/resume`, written),
  cancel: (runId: string) => post(`/api/runs/${encodeURIComponent(runId)}/cancel`, written),
  retry: (runId: string) => post(`/api/runs/${encodeURIComponent(runId)}/retry`, written),
  announce: (text: string, level: Announcement["level"]) => post("/api/system", written, { text, level }),
};

// -- asking ----------------------------------------------------------------------------------------------------------

async function get<T>(path: string, decode: Decode<T>): Promise<T> {
  return decode(await ask(path, { headers: { accept: "application/json" } }), "answer");
}

async function post<T>(path: string, decode: Decode<T>, body?: object): Promise<T> {
  const content = body === undefined ? {} : { body: JSON.stringify(body) };
  const headers = { accept: "application/json", "content-type": "application/json" };
  return decode(await ask(path, { method: "POST", headers, ...content }), "answer");
}

async function ask(path: string, request: RequestInit): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new ApiError("The service cannot be reached.", "unreachable", 0);
  }
  const answer: unknown = await response.json().catch(() => undefined);
  if (response.ok) return answer;
  const error = isRecord(answer) && isRecord(answer["error"]) ? answer["error"] : {};
  const message = typeof error["message"] === "string" ? error["message"] : `The service answered ${response.status}.`;
  throw new ApiError(message, typeof error["code"] === "string" ? error["code"] : "unknown", response.status);
}

// -- decoding --------------------------------------------------------------------------------------------------------
// Events and their TypeScript types come from one declaration, so a decoder checks the tag and trusts the fields.

type Decode<T> = (value: unknown, where: string) => T;
type Event = LogLine | RunUpdate;

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unexpected(where: string, wanted: string): never {
  throw new ApiError(`The service's answer does not fit this page (${where}: expected ${wanted}). Reload the page.`, "unexpected", 0);
}

function record(value: unknown, where: string): Record<string, unknown> {
  return isRecord(value) ? value : unexpected(where, "an object");
}

function text(value: unknown, where: string): string {
  return typeof value === "string" ? value : unexpected(where, "a text");
}

function integer(value: unknown, where: string): number {
  return typeof value === "number" && Number.isInteger(value) ? value : unexpected(where, "an integer");
}

function listOf<T>(decode: Decode<T>): Decode<readonly T[]> {
  return (value, where) =>
    Array.isArray(value) ? value.map((item, index) => decode(item, `${where}[${index}]`)) : unexpected(where, "a list");
}

function event<K extends Event["type"]>(type: K): Decode<Extract<Event, { type: K }>> {
  const fits = (value: unknown): value is Extract<Event, { type: K }> => isRecord(value) && value["type"] === type;
  return (value, where) => (fits(value) ? value : unexpected(where, type));
}

function hydrated<T>(decode: Decode<T>): Decode<Hydrated<T>> {
  return (value, where) => {
    const { data, cursor } = record(value, where);
    return { data: decode(data, `${where}.data`), cursor: text(cursor, `${where}.cursor`) };
  };
}

function runDetails(value: unknown, where: string): RunDetails {
  const { run, log } = record(value, where);
  return {
    run: event("RunUpdate")(run, `${where}.run`),
    log: listOf(event("LogLine"))(log, `${where}.log`),
  };
}

function written(value: unknown, where: string): Written {
  return { xid: text(record(value, where)["xid"], `${where}.xid`) };
}

function triggered(value: unknown, where: string): Written & { readonly run_id: string } {
  return { ...written(value, where), run_id: text(record(value, where)["run_id"], `${where}.run_id`) };
}

function runVersion(value: unknown, where: string): RunVersion {
  const { run_id, number, version } = record(value, where);
  return {
    run_id: text(run_id, `${where}.run_id`),
    number: integer(number, `${where}.number`),
    version: integer(version, `${where}.version`),
  };
}

function audited(value: unknown, where: string): Written & { readonly data: readonly RunVersion[] } {
  const { data } = record(value, where);
  return { ...written(value, where), data: listOf(runVersion)(data, `${where}.data`) };
}
