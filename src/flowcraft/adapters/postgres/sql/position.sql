-- position: where the log stands.
select system, timeline, generation, floor::text::bigint as floor, newest::text::bigint as newest,
    snapshot::text as snapshot, at
from flowcraft.position()
