-- What spans used, tokens and money, so that the sum over a trace is made again without their contents. Only spans that
-- used something have a row. used: JSON in which `attributes` has what was used by the names of the spans' attributes,
-- and for spans that were there before, the whole content.
CREATE TABLE trace_usage (
    trace BIGINT NOT NULL,
    span TEXT NOT NULL,
    used TEXT NOT NULL,
    PRIMARY KEY (trace, span)
) WITHOUT ROWID;
INSERT INTO trace_usage (trace, span, used)
SELECT trace, id, content FROM trace_span
WHERE content LIKE '%mlflow.chat.tokenUsage%' OR content LIKE '%mlflow.llm.cost%';
