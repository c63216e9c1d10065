-- Artifacts lie in one namespace, the paths behind `mlflow-artifacts:/`: those of runs, logged models and traces, and
-- what clients put anywhere else. A row is a file or, without a digest, a folder, so that one path is never both.
-- A folder's entries lie together, in the order in which they are listed.
CREATE TABLE artifact (
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT,
    size BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;

INSERT INTO artifact (folder, name, digest, size, created_at)
SELECT CAST(run.experiment_id AS TEXT) || '/' || run.id || '/artifacts'
        || CASE WHEN run_artifact.folder = '' THEN '' ELSE '/' || run_artifact.folder END,
    CASE WHEN run_artifact.folder = '' THEN run_artifact.path
        ELSE substr(run_artifact.path, length(run_artifact.folder) + 2) END,
    run_artifact.digest, run_artifact.size, run_artifact.created_at
FROM run_artifact JOIN run ON run.id = run_artifact.run_id;

INSERT INTO artifact (folder, name, size, created_at)
SELECT CAST(run.experiment_id AS TEXT) || '/' || run.id || '/artifacts'
        || CASE WHEN run_artifact_folder.folder = '' THEN '' ELSE '/' || run_artifact_folder.folder END,
    CASE WHEN run_artifact_folder.folder = '' THEN run_artifact_folder.path
        ELSE substr(run_artifact_folder.path, length(run_artifact_folder.folder) + 2) END,
    0, run.started_at
FROM run_artifact_folder JOIN run ON run.id = run_artifact_folder.run_id;

-- The folders above: of each run that has artifacts, and of its experiment.
INSERT INTO artifact (folder, name, size, created_at)
SELECT CAST(run.experiment_id AS TEXT) || '/' || run.id, 'artifacts', 0, run.started_at
FROM run WHERE EXISTS (SELECT 1 FROM run_artifact WHERE run_artifact.run_id = run.id);
INSERT INTO artifact (folder, name, size, created_at)
SELECT CAST(run.experiment_id AS TEXT), run.id, 0, run.started_at
FROM run WHERE EXISTS (SELECT 1 FROM run_artifact WHERE run_artifact.run_id = run.id);
INSERT INTO artifact (folder, name, size, created_at)
SELECT '', CAST(run.experiment_id AS TEXT), 0, MIN(run.started_at)
FROM run WHERE EXISTS (SELECT 1 FROM run_artifact WHERE run_artifact.run_id = run.id)
GROUP BY run.experiment_id;

DROP TABLE run_artifact;
DROP TABLE run_artifact_folder;
