-- The tables of the fleet's store.
--
-- A row of `device`, `attempt` and `record` is one record: its key and its body are the bytes that
-- ota-core gives them, its version says how often it was written. What belongs to a device carries the
-- device's shard (the first 12 bits of the SHA-256 of its id), so that rows of one device lie together
-- in every table, whether here in one of sixteen parts or on one of several machines.
--
-- A row of a `..._place` table is one place of a record in an index: the bytes of the place and behind
-- them those of the record's key. They sort as one text would.

CREATE TABLE ota.record (
    kind    smallint NOT NULL,
    key     bytea    NOT NULL,
    version bigint   NOT NULL,
    body    bytea    NOT NULL,
    PRIMARY KEY (kind, key)
);

CREATE TABLE ota.record_place (
    kind         smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key     bytea    NOT NULL,
    place_bytes  smallint NOT NULL,
    PRIMARY KEY (index_number, sort_key, kind)
);

CREATE TABLE ota.device (
    shard   smallint NOT NULL,
    key     bytea    NOT NULL,
    version bigint   NOT NULL,
    body    bytea    NOT NULL,
    PRIMARY KEY (key, shard)
) PARTITION BY HASH (shard);

CREATE TABLE ota.device_place (
    shard        smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key     bytea    NOT NULL,
    place_bytes  smallint NOT NULL,
    PRIMARY KEY (index_number, sort_key, shard)
) PARTITION BY HASH (shard);

CREATE TABLE ota.attempt (LIKE ota.device INCLUDING INDEXES) PARTITION BY HASH (shard);
CREATE TABLE ota.attempt_place (LIKE ota.device_place INCLUDING INDEXES) PARTITION BY HASH (shard);

-- A check-in rewrites the body of a row and nothing that is indexed: with room left in its page, the new
-- row lies beside the old one and no index is touched. Old rows are swept away soon, not at a fifth.
DO $$
BEGIN
    FOR part IN 0..15 LOOP
        EXECUTE format('CREATE TABLE ota.device_%s PARTITION OF ota.device
            FOR VALUES WITH (MODULUS 16, REMAINDER %s)
            WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)', part, part);
        EXECUTE format('CREATE TABLE ota.device_place_%s PARTITION OF ota.device_place
            FOR VALUES WITH (MODULUS 16, REMAINDER %s)', part, part);
        EXECUTE format('CREATE TABLE ota.attempt_%s PARTITION OF ota.attempt
            FOR VALUES WITH (MODULUS 16, REMAINDER %s)
            WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05)', part, part);
        EXECUTE format('CREATE TABLE ota.attempt_place_%s PARTITION OF ota.attempt_place
            FOR VALUES WITH (MODULUS 16, REMAINDER %s)
            WITH (autovacuum_vacuum_scale_factor = 0.05)', part, part);
    END LOOP;
END $$;

-- A counter is the sum of its lanes: writers at work at the same time have different ones, so that none
-- waits for another because both count.
CREATE TABLE ota.counter (
    key   bytea    NOT NULL,
    lane  smallint NOT NULL,
    value bigint   NOT NULL,
    PRIMARY KEY (key, lane)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

-- The texts are bytes, because they may hold what Postgres does not take for text. Times are milliseconds
-- since 1970.
CREATE TABLE ota.audit (
    sequence  bigint PRIMARY KEY,
    at        bigint NOT NULL,
    principal bytea  NOT NULL,
    action    bytea  NOT NULL,
    subject   bytea  NOT NULL,
    product   bytea  NOT NULL,
    detail    bytea  NOT NULL,
    previous  bytea  NOT NULL,
    hash      bytea  NOT NULL
);

-- The end of the audit chain in one row: whoever adds to the chain holds it until the commit.
CREATE TABLE ota.audit_end (
    is_end   boolean PRIMARY KEY DEFAULT true CHECK (is_end),
    sequence bigint  NOT NULL,
    hash     bytea   NOT NULL
) WITH (fillfactor = 50);

INSERT INTO ota.audit_end (sequence, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- Rows stay when a lease is given back or runs out: the token never falls.
CREATE TABLE ota.lease (
    name   bytea       PRIMARY KEY,
    holder bytea       NOT NULL,
    token  bigint      NOT NULL,
    until  timestamptz NOT NULL
) WITH (fillfactor = 50);
