/** How long to wait before trying again. */

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 5_000;

/** Full jitter: clients that lost one server together do not come back together. */
export const retryDelay = (random: () => number, failures: number) =>
  random() * Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures);
