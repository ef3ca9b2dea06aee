-- trim: remove the events of transactions below $1; return how many.
select flowcraft.trim($1::text::xid8)
