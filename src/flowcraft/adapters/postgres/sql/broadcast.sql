-- emit: state an event. $1 channel, $2 payload. Through text, so that a JSON codec of the connection has no say.
select flowcraft.broadcast($1::text, $2::text::json)
