import { expect, it } from "vitest";
import { anAnnouncement } from "@/testing/builders";
import { BANNER_MS, bannerOf, newestFirst, unreadCount } from "./announcements";

const older = anAnnouncement({ announcement_id: "older" });
const newer = anAnnouncement({ announcement_id: "newer" });
const at = Date.parse(newer.at);

it("begins with the newest, whatever the offset of its time", () => {
  const later = anAnnouncement({ announcement_id: "later", at: "2026-11-22T21:13:00.5+00:00" });
  const last = anAnnouncement({ announcement_id: "last", at: "2026-11-22T16:14:00-05:00" });
  expect([older, last, later].sort(newestFirst)).toEqual([last, later, older]);
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
