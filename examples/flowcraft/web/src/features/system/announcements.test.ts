import { expect, it } from "vitest";
import { anAnnouncement } from "@/testing/builders";
import { ANNOUNCEMENTS_KEPT, BANNER_MS, bannerOf, unreadCount, withAnnouncement } from "./announcements";

const older = anAnnouncement({ announcement_id: "older" });
const newer = anAnnouncement({ announcement_id: "newer" });
const at = Date.parse(newer.at);

it("begins with the newest and forgets the oldest", () => {
  expect(withAnnouncement([older], newer)).toEqual([newer, older]);
  const full = Array.from({ length: ANNOUNCEMENTS_KEPT }, () => older);
  expect(withAnnouncement(full, newer)).toEqual([newer, ...full.slice(1)]);
});

it("stands above the page while it is young and open", () => {
  expect(bannerOf([newer, older], null, at + 1000)).toBe(newer);
  expect(bannerOf([newer, older], "newer", at + 1000)).toBeNull();
  expect(bannerOf([newer, older], "older", at + 1000)).toBe(newer);
  expect(bannerOf([newer, older], null, at + BANNER_MS)).toBeNull();
  expect(bannerOf([], null, at)).toBeNull();
});

it("counts what is newer than the one seen last", () => {
  expect([null, "newer", "older", "gone"].map((seen) => unreadCount([newer, older], seen))).toEqual([2, 0, 1, 2]);
});
