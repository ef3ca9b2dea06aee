/** Retry: the delay before the next attempt to connect. */

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 3_000;
const GROWTH = 1.3;

/**
 * Full jitter: clients that lost one server at the same time do not reconnect at the same time. The delay grows slowly:
 * after an outage of a few seconds, the longest delay is still shorter than the outage was.
 */
export const retryDelay = (random: () => number, failures: number) =>
  random() * Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * GROWTH ** failures);
