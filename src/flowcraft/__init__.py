"""FlowCraft Realtime: typed channels from PostgreSQL commits to React components."""
