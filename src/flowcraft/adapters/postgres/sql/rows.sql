-- rows: the cursor and the rows of one channel. $1 the trigger function of its source, $2 the value of its parameter or null, $3 the
-- most rows, $4 the most bytes.
select r.kind, r.content from flowcraft.rows($1::text, $2::text, $3::bigint, $4::bigint) as r
