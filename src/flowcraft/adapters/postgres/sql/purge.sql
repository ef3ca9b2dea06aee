-- purge: remove the events of channel $1, of a family (`runs.*`) or all (null); with $2 only count them.
select flowcraft.purge($1::text, $2::boolean)
