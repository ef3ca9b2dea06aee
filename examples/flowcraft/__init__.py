"""FlowCraft: a workflow product, the worked example of FlowCraft Realtime."""
