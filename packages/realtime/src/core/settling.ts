/** Settling: the transactions that the application waits for, and which of them the server was asked about. */

/** Below the server's default limit, so that a refusal is rare. */
const MOST = 32;

export type Settling<T> = { readonly xid: string; readonly ticket: T; asked: boolean };

export const createSettling = <T>() => {
  const entries: Settling<T>[] = [];
  let most = MOST;
  let refused = false; // a request on this connection; an error does not name which
  let turn = 0;
  const again: string[] = [];

  /** The transactions that the server was asked about and has not answered. */
  const pending = () => [...new Set(entries.filter((entry) => entry.asked).map((entry) => entry.xid))];

  return {
    entries: entries as readonly Settling<T>[],
    add: (xid: string, ticket: T) => entries.push({ xid, ticket, asked: false }),
    /** The connection is lost, and its requests with it. */
    forget() {
      for (const entry of entries) entry.asked = false;
      refused = false;
      again.length = 0;
    },
    /** Ask about as many transactions as may wait: the others follow when one of these has settled. */
    ask(): string[] {
      const asked = new Set(pending());
      const before = asked.size;
      for (const entry of entries)
        if (asked.size < most || asked.has(entry.xid)) {
          entry.asked = true;
          asked.add(entry.xid);
        }
      return [...again.splice(0), ...[...asked].slice(before)];
    },
    /** The server has too many requests waiting, and has refused one of them. Returns false if none was sent. */
    refuse(): boolean {
      if (most > 1) most--;
      refused = true;
      return pending().length > 0;
    },
    /**
     * The entries that a reply settles: those whose request was sent, not later ones of the same transaction. Now there
     * is room for one that may have been refused. When the server has none of them left, it is one that was.
     */
    settle(xid: string): Settling<T>[] {
      const done = entries.filter((entry) => entry.asked && entry.xid === xid);
      for (const entry of done) entries.splice(entries.indexOf(entry), 1);
      const asked = pending();
      if (refused && done.length && asked.length) again.push(...asked.slice((turn = (turn + 1) % asked.length)).slice(0, 1));
      return done;
    },
    /** Give all up. */
    clear: () => entries.splice(0),
  };
};
