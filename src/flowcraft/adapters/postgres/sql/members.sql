-- members: the cursor and the members of one channel. $1 the channel, $2 the most members, $3 the most bytes.
select m.kind, m.content from flowcraft.members($1::text, $2::bigint, $3::bigint) as m
