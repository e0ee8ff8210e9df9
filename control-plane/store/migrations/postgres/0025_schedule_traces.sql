-- Where in its trace the call stands that wrote a schedule, for the traces of its runs to name it; empty:
-- nobody collects that trace.
ALTER TABLE schedules ADD COLUMN traceparent TEXT COLLATE "C" NOT NULL DEFAULT '';
