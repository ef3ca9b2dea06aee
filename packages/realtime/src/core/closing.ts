/** Closing: what a close code means: connect again, with another token, or stop. */
import { RealtimeError } from "./error.js";

export const BAD_FRAME = 4002;
const TOO_LONG = 1009;
const EXPIRED = 4401;
const INVALID = 4500;
const NO_TOKEN = 4501;
const FIRST_FINAL = 4500;
/** What heals by itself is reported when it has happened this often in a row. */
const REPORTED = 3;
/** The server's messages about a token: its close code has the same cause. */
export const INVALID_TOKEN = "invalid_token";

/** `final`: why the client stops; undefined if it connects again, after the usual delay times `patience`. */
export type Verdict = readonly [final: string | undefined, patience: number, report: RealtimeError | undefined];

/** Only what cannot heal is final: an invalid token after one renewal, a message that cannot be shorter. */
export const createVerdicts = (hasTokens: boolean) => {
  let renews = false;
  let refused = 0; // tokens in a row
  let malformed = 0; // connections in a row

  return {
    /** Whether the next connection needs a new token. */
    renews: () => renews,
    /** A token was accepted, or the connection works without one. */
    works() {
      renews = false;
      refused = 0;
    },
    /** The user asks for a new attempt. */
    retry() {
      refused = 0;
    },
    closed(code: number, isShortest: boolean, reason = ""): Verdict {
      const isToken = code === EXPIRED || (hasTokens && (code === INVALID || code === NO_TOKEN));
      const isFinal = code >= FIRST_FINAL ? !isToken || renews : code === TOO_LONG && isShortest;
      renews = isToken;
      if (isToken) refused++;
      malformed = code === BAD_FRAME ? malformed + 1 : 0;
      const isRepeated = (code === EXPIRED ? refused : malformed) === REPORTED;
      const closed = `closed (${code})${reason && ": "}${reason}`;
      return [
        isFinal ? closed : undefined,
        isToken ? Math.min(10, Math.max(1, refused - (REPORTED - 1))) : 1,
        isRepeated ? new RealtimeError(malformed ? "bad_frame" : "token_expired", `${REPORTED} times in a row ${closed}`) : undefined,
      ];
    },
  };
};
