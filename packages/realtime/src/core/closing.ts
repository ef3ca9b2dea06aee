/** Closing: what a close code means: connect again, with another token or with shorter requests, or stop. */
import { RealtimeError } from "./error.js";

const TOO_LONG = 1009;
const EXPIRED = 4401;
const INVALID = 4500;
const NO_TOKEN = 4501;
const FIRST_FINAL = 4500;
/** A renewed token is refused this often in a row before that is reported, and attempts become rarer. */
const REPORTED = 2;
/** The server's messages about a token are in the reports below. */
export const INVALID_TOKEN = "invalid_token";

const CAUSES: Readonly<Record<number, string>> = {
  [TOO_LONG]: "the server refuses a message as too long (1009): a token above 16 KiB, or its message_bytes are too small",
  [INVALID]: "the server refuses the token as invalid (4500): its secret, issuer, audience or clock differ, or this server wants none",
  [NO_TOKEN]: "the server wants a token and received none (4501): createClient({ token })",
  4504: "too many connections of this viewer (4504)",
  4505: "more than the server allows (4505)",
};

export type Verdict = {
  /** Why the client stops; undefined if it connects again. */
  readonly final: string | undefined;
  readonly renew: boolean;
  /** Send requests of fewer names. */
  readonly shorter: boolean;
  /** The delay before the next attempt is multiplied by this. */
  readonly patience: number;
  readonly report: RealtimeError | undefined;
};

/** Only what cannot heal is final: an invalid token after one renewal, a message that cannot be shorter. */
export const createVerdicts = (hasTokens: boolean) => {
  let renewed = false; // the last connection began with a renewed token
  let refused = 0; // tokens in a row
  let tooLong = 0;

  return {
    /** A token was accepted, or the connection works without one. */
    works() {
      renewed = false;
      refused = 0;
    },
    /** The user asks for a new attempt. */
    retry() {
      tooLong = 0;
      refused = 0;
    },
    closed(code: number): Verdict {
      const isToken = code === EXPIRED || (hasTokens && (code === INVALID || code === NO_TOKEN));
      const shorter = code === TOO_LONG && ++tooLong < 3;
      const isFinal = code >= FIRST_FINAL ? !isToken || renewed : code === TOO_LONG && !shorter;
      refused = isToken ? refused + 1 : refused;
      renewed = isToken;
      return {
        final: isFinal ? (CAUSES[code] ?? `the server closed for good (${code})`) : undefined,
        renew: isToken,
        shorter,
        patience: isToken ? Math.max(1, refused - REPORTED) : 1,
        report:
          code === EXPIRED && refused === REPORTED + 1
            ? new RealtimeError("token_expired", "the server refuses each new token as expired or not yet valid (4401): compare clocks, and look for a cached token")
            : undefined,
      };
    },
  };
};
