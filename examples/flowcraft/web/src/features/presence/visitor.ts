// Who this browser is to the others: an id and a name that it has made up, and keeps. A product has a login instead.
import { recall, remember } from "@/lib/stored";

const QUALITIES = ["Brisk", "Calm", "Eager", "Gentle", "Keen", "Lucid", "Merry", "Quick", "Sunny", "Witty"];
const ANIMALS = ["Badger", "Crane", "Falcon", "Heron", "Lynx", "Marten", "Otter", "Raven", "Stoat", "Wren"];
const KEY = "visitor";
const FORM = /^[0-9a-f-]{36} \w[\w ]{0,39}$/;

export type Name = { readonly id: string; readonly name: string };

/** The token of this browser, the same in all of its tabs: the id, a space, and the name. */
export function visitorToken(): string {
  const known = recall(KEY);
  if (known !== null && FORM.test(known)) return known;
  const made = `${uuid()} ${pick(QUALITIES)} ${pick(ANIMALS)}`;
  remember(KEY, made);
  return made;
}

/** Whether a member is this browser. */
export const isOwn = (id: string): boolean => recall(KEY)?.startsWith(`${id} `) === true;

/** The first letters of the words of a name. */
export const initials = (name: string): string =>
  name
    .split(" ")
    .map((word) => word[0])
    .join("")
    .slice(0, 2);

/** One of as many hues as there are, always the same for an id. */
export const hue = (id: string): number => parseInt(id.slice(0, 4), 16) % 360;

const pick = (words: readonly string[]): string => words[Math.floor(Math.random() * words.length)] ?? "";

/** Not `crypto.randomUUID`, which pages without TLS lack on other hosts than localhost. */
function uuid(): string {
  const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
}
