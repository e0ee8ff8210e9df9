-- Commands of one lane run on a host one after the other; empty: in none.
ALTER TABLE operations ADD COLUMN lane TEXT NOT NULL DEFAULT '';
