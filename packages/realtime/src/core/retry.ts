/** How long to wait before trying again. */

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 3_000;
const GROWTH = 1.3;

/**
 * Full jitter: clients that lost one server together do not come back together. It grows gently: after an
 * outage of a few seconds, the longest wait is still shorter than the outage was.
 */
export const retryDelay = (random: () => number, failures: number) =>
  random() * Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * GROWTH ** failures);
