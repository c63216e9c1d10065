-- Who did what. Each entry holds the digest of the one before it, so a change of any entry shows in all later ones.
CREATE TABLE audit (
    number BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    details_json TEXT NOT NULL,
    previous TEXT NOT NULL,
    digest TEXT NOT NULL
);

CREATE INDEX audit_object ON audit (object, number);
CREATE INDEX audit_who ON audit (who, number);
