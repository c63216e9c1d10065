-- The checkpoints that the execution of a key wrote or used, as a JSON list: what has to go with its outcome.
CREATE TABLE stage_pieces (
    key TEXT NOT NULL PRIMARY KEY,
    pieces_json TEXT NOT NULL
);
