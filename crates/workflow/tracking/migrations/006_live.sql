-- The runs that are at work, so that whoever listens to an experiment reads them and not all runs that it ever had. Few
-- rows: a run is in it from its beginning to its end.
CREATE INDEX run_active ON run (experiment_id, number) WHERE status IN ('RUNNING', 'SCHEDULED');
