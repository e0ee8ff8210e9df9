-- Which labels hosts may ask for that come with a token, and which a host that waits asks for.
ALTER TABLE join_tokens ADD COLUMN requestable TEXT NOT NULL DEFAULT '[]'; -- JSON
ALTER TABLE join_requests ADD COLUMN requested_labels TEXT NOT NULL DEFAULT '{}'; -- JSON
