-- position: where the log begins and ends.
select system, database, timeline, generation, floor::text::bigint as floor, newest::text::bigint as newest, mark,
    snapshot::text as snapshot, at
from flowcraft.reached()
