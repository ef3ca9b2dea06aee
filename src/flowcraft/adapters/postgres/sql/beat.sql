-- beat: note that a node lives. $1 the node.
select b.name, b.count from flowcraft.beat($1::text) as b
