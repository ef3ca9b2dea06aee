/** The commit that is measured. */
import { spawnSync } from "node:child_process";
import { root } from "../tests/e2e/harness.js";

const git = (...args: readonly string[]) => spawnSync("git", args, { cwd: root, encoding: "utf8" });

/** `-dirty` if the work tree differs from it, in more than the results of this run. */
export const commit = (): string => {
  const found = git("rev-parse", "--short", "HEAD").stdout.trim();
  const { status } = git("diff", "--quiet", "HEAD", "--", ".", ":(exclude)benchmarks/results", ":(exclude)docs");
  return status ? `${found}-dirty` : found;
};
