-- What a host says a command found or made, as it was encoded there; empty: nothing.
ALTER TABLE commands ADD COLUMN result BLOB NOT NULL DEFAULT x'';
