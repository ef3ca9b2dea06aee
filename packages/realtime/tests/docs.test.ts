/** The guides show what the tests run: every block that has a title is a file of `tests/docs`, as it is. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const GUIDES = ["docs/guides/testing.md", "docs/guides/other-frameworks.md", "docs/guides/tanstack-query.md", "docs/guides/tanstack-db.md"];
const BLOCK = /^```(?:tsx?|svelte|vue) title="([^"]+)"\n(.*?)^```$/gms;
const UNTITLED = /^```(?:tsx?|svelte|vue)\n/m;

test.each(GUIDES)("%s", (guide) => {
  const text = readFileSync(new URL(`../../../${guide}`, import.meta.url), "utf8");
  const blocks = [...text.matchAll(BLOCK)];
  expect(blocks.length).toBeGreaterThan(1);
  for (const [, title = "", shown = ""] of blocks)
    expect(readFileSync(new URL(`docs/${title}`, import.meta.url), "utf8"), title).toContain(shown);
  expect(text).not.toMatch(UNTITLED);
});
