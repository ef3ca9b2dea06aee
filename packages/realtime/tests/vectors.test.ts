import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Conversation, replay } from "./conversation.js";

const vectors = new URL("../../../spec/vectors/", import.meta.url);
const conversations = readdirSync(vectors)
  .filter((file) => file.endsWith(".json"))
  .map((file) => JSON.parse(readFileSync(new URL(file, vectors), "utf8")) as Conversation);

describe("golden conversations", () => {
  test.each(conversations.filter((c) => !c.plain))("$name: $about", replay);

  test("a conversation in which the server sends one event more than it says does not pass", () => {
    const [first] = conversations.filter((c) => c.name === "first-event");
    const text = JSON.stringify(first).replace('"n":1', '"n":2');
    expect(() => replay(JSON.parse(text) as Conversation)).toThrow("4002");
  });
});
