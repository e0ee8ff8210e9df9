-- Where in its trace a request stands of which work goes on later: W3C Trace Context; empty:
-- nobody collects that trace.
ALTER TABLE operations ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
ALTER TABLE item_marks ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
