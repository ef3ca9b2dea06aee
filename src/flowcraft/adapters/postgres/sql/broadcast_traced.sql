-- broadcast_traced: broadcast an event as part of a trace. $1 channel, $2 payload, $3 traceparent, until the transaction ends.
with traced as materialized (select set_config('flowcraft.traceparent', $3::text, true))
select flowcraft.broadcast($1::text, $2::text::json) from traced
