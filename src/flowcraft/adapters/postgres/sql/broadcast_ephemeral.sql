-- broadcast_ephemeral: deliver an event to the present subscribers. $1 channel, $2 payload.
select flowcraft.broadcast_ephemeral($1::text, $2::text::json)
