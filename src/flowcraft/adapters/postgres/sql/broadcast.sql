-- broadcast: put an event on a channel. $1 channel, $2 payload: as text, so that no JSON codec of the connection encodes it.
select flowcraft.broadcast($1::text, $2::text::json)
