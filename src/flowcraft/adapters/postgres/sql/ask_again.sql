-- ask_again: have the guards of a viewer's subscriptions asked again. $1 viewer, $2 channel: empty for all.
select flowcraft.ask_again(nullif($1::text, ''), nullif($2::text, ''))
