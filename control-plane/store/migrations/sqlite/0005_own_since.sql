-- Begin of the newest certificate that a node had in common with another host when it
-- was released as one process: none from until then raises a suspicion.
ALTER TABLE node_status ADD COLUMN own_since INTEGER NOT NULL DEFAULT 0;
