-- Output of all commands of an operation together: what is kept of it, and what is.
ALTER TABLE operations ADD COLUMN output_limit INTEGER NOT NULL DEFAULT 268435456;
ALTER TABLE operations ADD COLUMN output_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE commands ADD COLUMN stderr_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE operations SET output_bytes =
    (SELECT COALESCE(SUM(output_bytes), 0) FROM commands WHERE operation_id = operations.id);
UPDATE commands SET stderr_bytes =
    (SELECT COALESCE(SUM(LENGTH(data)), 0) FROM command_output WHERE command_id = commands.id AND is_stderr = 1)
    WHERE output_bytes > 0;
