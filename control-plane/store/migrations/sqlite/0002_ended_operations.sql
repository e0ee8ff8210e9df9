-- Operations that ended are taken away after a time, the oldest first.
CREATE INDEX operations_ended ON operations (ended_at) WHERE ended_at IS NOT NULL;
