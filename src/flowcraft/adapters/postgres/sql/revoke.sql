-- revoke: end a viewer's subscriptions. $1 viewer, $2 channel: empty for all.
select flowcraft.revoke(nullif($1::text, ''), nullif($2::text, ''))
