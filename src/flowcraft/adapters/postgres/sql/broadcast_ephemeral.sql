-- announce: tell whoever is there. $1 channel, $2 payload.
select flowcraft.broadcast_ephemeral($1::text, $2::text::json)
