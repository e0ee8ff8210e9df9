-- A host certificate of another authority is one node's at a time.
CREATE INDEX nodes_by_enrolled_with ON nodes (enrolled_with);

-- The one process that is the node after a quarantine, as JSON.
ALTER TABLE node_status ADD COLUMN kept TEXT;
