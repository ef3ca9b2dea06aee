-- lookup_skipped: the events that could not be made, by channel and reason, the most frequent first. It reads the whole log.
select channel, payload as reason, count(*) as events, max(id) as last
from flowcraft.event where kind = 's' group by 1, 2 order by 3 desc, 1, 2 limit 5
