-- attend: write the members of a node. $1 the node, $2 whether these are all, $3 channels, $4 keys, $5 their JSON or null, $6 the most to be listed.
select flowcraft.attend($1::text, $2::boolean, $3::text[], $4::text[], $5::text[], $6::bigint)
