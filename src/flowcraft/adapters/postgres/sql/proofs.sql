-- proofs: what the log knows of the transactions $1 that cursors have seen.
select xid, mark, runs, floor from flowcraft.proofs($1::text[]::xid8[])
