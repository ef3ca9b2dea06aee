-- record: store the hashes of the migrations of a log that 0004 has taken over.
update flowcraft.migration as m set hash = o.hash
from jsonb_to_recordset($1::jsonb) as o(version integer, name text, hash text)
where o.version = m.version and m.hash is null and exists (select from flowcraft.migration as t where t.version = 4);
