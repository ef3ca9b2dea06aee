-- purges: how often events were removed that are not older than the floor.
select flowcraft.purges()
