-- position: where the log begins and ends.
select system, timeline, generation, floor::text::bigint as floor, newest::text::bigint as newest,
    snapshot::text as snapshot, at
from flowcraft.position()
