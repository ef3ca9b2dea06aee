-- forget: remove nodes that have ended. $1 their names, $2 the last beat of each.
select flowcraft.forget($1::text[], $2::bigint[])
