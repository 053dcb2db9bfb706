-- The database as the version of the program left it whose newest migration was 0001: what pg_dump says of it, without comments.
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET client_min_messages = warning;
CREATE SCHEMA ota;
SET default_tablespace = '';
CREATE TABLE ota.attempt (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
PARTITION BY HASH (shard);
SET default_table_access_method = heap;
CREATE TABLE ota.attempt_0 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_1 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_10 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_11 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_12 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_13 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_14 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_15 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_2 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_3 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_4 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_5 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_6 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_7 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_8 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_9 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
PARTITION BY HASH (shard);
CREATE TABLE ota.attempt_place_0 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_1 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_10 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_11 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_12 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_13 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_14 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_15 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_2 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_3 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_4 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_5 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_6 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_7 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_8 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.attempt_place_9 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.audit (
    sequence bigint NOT NULL,
    at bigint NOT NULL,
    principal bytea NOT NULL,
    action bytea NOT NULL,
    subject bytea NOT NULL,
    product bytea NOT NULL,
    detail bytea NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL
);
CREATE TABLE ota.audit_end (
    is_end boolean DEFAULT true NOT NULL,
    sequence bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_end_is_end_check CHECK (is_end)
)
WITH (fillfactor='50');
CREATE TABLE ota.counter (
    key bytea NOT NULL,
    lane smallint NOT NULL,
    value bigint NOT NULL
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
PARTITION BY HASH (shard);
CREATE TABLE ota.device_0 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_1 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_10 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_11 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_12 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_13 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_14 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_15 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_2 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_3 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_4 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_5 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_6 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_7 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_8 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_9 (
    shard smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
)
WITH (fillfactor='80', autovacuum_vacuum_scale_factor='0.05');
CREATE TABLE ota.device_place (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
)
PARTITION BY HASH (shard);
CREATE TABLE ota.device_place_0 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_1 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_10 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_11 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_12 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_13 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_14 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_15 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_2 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_3 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_4 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_5 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_6 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_7 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_8 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.device_place_9 (
    shard smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.lease (
    name bytea NOT NULL,
    holder bytea NOT NULL,
    token bigint NOT NULL,
    until timestamp with time zone NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE ota.record (
    kind smallint NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    body bytea NOT NULL
);
CREATE TABLE ota.record_place (
    kind smallint NOT NULL,
    index_number smallint NOT NULL,
    sort_key bytea NOT NULL,
    place_bytes smallint NOT NULL
);
CREATE TABLE ota.schema (
    number integer NOT NULL,
    usable_from integer NOT NULL,
    applied timestamp with time zone DEFAULT now() NOT NULL,
    applied_by name DEFAULT SESSION_USER NOT NULL
);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_0 FOR VALUES WITH (modulus 16, remainder 0);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_1 FOR VALUES WITH (modulus 16, remainder 1);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_10 FOR VALUES WITH (modulus 16, remainder 10);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_11 FOR VALUES WITH (modulus 16, remainder 11);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_12 FOR VALUES WITH (modulus 16, remainder 12);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_13 FOR VALUES WITH (modulus 16, remainder 13);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_14 FOR VALUES WITH (modulus 16, remainder 14);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_15 FOR VALUES WITH (modulus 16, remainder 15);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_2 FOR VALUES WITH (modulus 16, remainder 2);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_3 FOR VALUES WITH (modulus 16, remainder 3);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_4 FOR VALUES WITH (modulus 16, remainder 4);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_5 FOR VALUES WITH (modulus 16, remainder 5);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_6 FOR VALUES WITH (modulus 16, remainder 6);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_7 FOR VALUES WITH (modulus 16, remainder 7);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_8 FOR VALUES WITH (modulus 16, remainder 8);
ALTER TABLE ONLY ota.attempt ATTACH PARTITION ota.attempt_9 FOR VALUES WITH (modulus 16, remainder 9);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_0 FOR VALUES WITH (modulus 16, remainder 0);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_1 FOR VALUES WITH (modulus 16, remainder 1);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_10 FOR VALUES WITH (modulus 16, remainder 10);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_11 FOR VALUES WITH (modulus 16, remainder 11);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_12 FOR VALUES WITH (modulus 16, remainder 12);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_13 FOR VALUES WITH (modulus 16, remainder 13);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_14 FOR VALUES WITH (modulus 16, remainder 14);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_15 FOR VALUES WITH (modulus 16, remainder 15);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_2 FOR VALUES WITH (modulus 16, remainder 2);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_3 FOR VALUES WITH (modulus 16, remainder 3);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_4 FOR VALUES WITH (modulus 16, remainder 4);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_5 FOR VALUES WITH (modulus 16, remainder 5);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_6 FOR VALUES WITH (modulus 16, remainder 6);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_7 FOR VALUES WITH (modulus 16, remainder 7);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_8 FOR VALUES WITH (modulus 16, remainder 8);
ALTER TABLE ONLY ota.attempt_place ATTACH PARTITION ota.attempt_place_9 FOR VALUES WITH (modulus 16, remainder 9);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_0 FOR VALUES WITH (modulus 16, remainder 0);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_1 FOR VALUES WITH (modulus 16, remainder 1);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_10 FOR VALUES WITH (modulus 16, remainder 10);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_11 FOR VALUES WITH (modulus 16, remainder 11);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_12 FOR VALUES WITH (modulus 16, remainder 12);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_13 FOR VALUES WITH (modulus 16, remainder 13);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_14 FOR VALUES WITH (modulus 16, remainder 14);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_15 FOR VALUES WITH (modulus 16, remainder 15);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_2 FOR VALUES WITH (modulus 16, remainder 2);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_3 FOR VALUES WITH (modulus 16, remainder 3);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_4 FOR VALUES WITH (modulus 16, remainder 4);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_5 FOR VALUES WITH (modulus 16, remainder 5);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_6 FOR VALUES WITH (modulus 16, remainder 6);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_7 FOR VALUES WITH (modulus 16, remainder 7);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_8 FOR VALUES WITH (modulus 16, remainder 8);
ALTER TABLE ONLY ota.device ATTACH PARTITION ota.device_9 FOR VALUES WITH (modulus 16, remainder 9);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_0 FOR VALUES WITH (modulus 16, remainder 0);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_1 FOR VALUES WITH (modulus 16, remainder 1);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_10 FOR VALUES WITH (modulus 16, remainder 10);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_11 FOR VALUES WITH (modulus 16, remainder 11);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_12 FOR VALUES WITH (modulus 16, remainder 12);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_13 FOR VALUES WITH (modulus 16, remainder 13);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_14 FOR VALUES WITH (modulus 16, remainder 14);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_15 FOR VALUES WITH (modulus 16, remainder 15);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_2 FOR VALUES WITH (modulus 16, remainder 2);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_3 FOR VALUES WITH (modulus 16, remainder 3);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_4 FOR VALUES WITH (modulus 16, remainder 4);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_5 FOR VALUES WITH (modulus 16, remainder 5);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_6 FOR VALUES WITH (modulus 16, remainder 6);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_7 FOR VALUES WITH (modulus 16, remainder 7);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_8 FOR VALUES WITH (modulus 16, remainder 8);
ALTER TABLE ONLY ota.device_place ATTACH PARTITION ota.device_place_9 FOR VALUES WITH (modulus 16, remainder 9);
INSERT INTO ota.audit_end VALUES (true, 0, '\x0000000000000000000000000000000000000000000000000000000000000000');
INSERT INTO ota.schema VALUES (1, 1, '2026-01-01 00:00:00+00', 'ota');
ALTER TABLE ONLY ota.attempt
    ADD CONSTRAINT attempt_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_0
    ADD CONSTRAINT attempt_0_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_10
    ADD CONSTRAINT attempt_10_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_11
    ADD CONSTRAINT attempt_11_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_12
    ADD CONSTRAINT attempt_12_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_13
    ADD CONSTRAINT attempt_13_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_14
    ADD CONSTRAINT attempt_14_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_15
    ADD CONSTRAINT attempt_15_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_1
    ADD CONSTRAINT attempt_1_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_2
    ADD CONSTRAINT attempt_2_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_3
    ADD CONSTRAINT attempt_3_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_4
    ADD CONSTRAINT attempt_4_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_5
    ADD CONSTRAINT attempt_5_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_6
    ADD CONSTRAINT attempt_6_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_7
    ADD CONSTRAINT attempt_7_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_8
    ADD CONSTRAINT attempt_8_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_9
    ADD CONSTRAINT attempt_9_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.attempt_place
    ADD CONSTRAINT attempt_place_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_0
    ADD CONSTRAINT attempt_place_0_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_10
    ADD CONSTRAINT attempt_place_10_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_11
    ADD CONSTRAINT attempt_place_11_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_12
    ADD CONSTRAINT attempt_place_12_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_13
    ADD CONSTRAINT attempt_place_13_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_14
    ADD CONSTRAINT attempt_place_14_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_15
    ADD CONSTRAINT attempt_place_15_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_1
    ADD CONSTRAINT attempt_place_1_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_2
    ADD CONSTRAINT attempt_place_2_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_3
    ADD CONSTRAINT attempt_place_3_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_4
    ADD CONSTRAINT attempt_place_4_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_5
    ADD CONSTRAINT attempt_place_5_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_6
    ADD CONSTRAINT attempt_place_6_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_7
    ADD CONSTRAINT attempt_place_7_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_8
    ADD CONSTRAINT attempt_place_8_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.attempt_place_9
    ADD CONSTRAINT attempt_place_9_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.audit_end
    ADD CONSTRAINT audit_end_pkey PRIMARY KEY (is_end);
ALTER TABLE ONLY ota.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (sequence);
ALTER TABLE ONLY ota.counter
    ADD CONSTRAINT counter_pkey PRIMARY KEY (key, lane);
ALTER TABLE ONLY ota.device
    ADD CONSTRAINT device_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_0
    ADD CONSTRAINT device_0_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_10
    ADD CONSTRAINT device_10_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_11
    ADD CONSTRAINT device_11_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_12
    ADD CONSTRAINT device_12_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_13
    ADD CONSTRAINT device_13_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_14
    ADD CONSTRAINT device_14_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_15
    ADD CONSTRAINT device_15_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_1
    ADD CONSTRAINT device_1_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_2
    ADD CONSTRAINT device_2_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_3
    ADD CONSTRAINT device_3_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_4
    ADD CONSTRAINT device_4_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_5
    ADD CONSTRAINT device_5_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_6
    ADD CONSTRAINT device_6_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_7
    ADD CONSTRAINT device_7_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_8
    ADD CONSTRAINT device_8_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_9
    ADD CONSTRAINT device_9_pkey PRIMARY KEY (key, shard);
ALTER TABLE ONLY ota.device_place
    ADD CONSTRAINT device_place_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_0
    ADD CONSTRAINT device_place_0_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_10
    ADD CONSTRAINT device_place_10_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_11
    ADD CONSTRAINT device_place_11_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_12
    ADD CONSTRAINT device_place_12_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_13
    ADD CONSTRAINT device_place_13_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_14
    ADD CONSTRAINT device_place_14_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_15
    ADD CONSTRAINT device_place_15_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_1
    ADD CONSTRAINT device_place_1_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_2
    ADD CONSTRAINT device_place_2_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_3
    ADD CONSTRAINT device_place_3_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_4
    ADD CONSTRAINT device_place_4_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_5
    ADD CONSTRAINT device_place_5_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_6
    ADD CONSTRAINT device_place_6_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_7
    ADD CONSTRAINT device_place_7_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_8
    ADD CONSTRAINT device_place_8_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.device_place_9
    ADD CONSTRAINT device_place_9_pkey PRIMARY KEY (index_number, sort_key, shard);
ALTER TABLE ONLY ota.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (name);
ALTER TABLE ONLY ota.record
    ADD CONSTRAINT record_pkey PRIMARY KEY (kind, key);
ALTER TABLE ONLY ota.record_place
    ADD CONSTRAINT record_place_pkey PRIMARY KEY (index_number, sort_key, kind);
ALTER TABLE ONLY ota.schema
    ADD CONSTRAINT schema_pkey PRIMARY KEY (number);
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_0_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_10_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_11_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_12_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_13_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_14_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_15_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_1_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_2_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_3_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_4_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_5_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_6_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_7_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_8_pkey;
ALTER INDEX ota.attempt_pkey ATTACH PARTITION ota.attempt_9_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_0_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_10_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_11_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_12_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_13_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_14_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_15_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_1_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_2_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_3_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_4_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_5_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_6_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_7_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_8_pkey;
ALTER INDEX ota.attempt_place_pkey ATTACH PARTITION ota.attempt_place_9_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_0_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_10_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_11_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_12_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_13_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_14_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_15_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_1_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_2_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_3_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_4_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_5_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_6_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_7_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_8_pkey;
ALTER INDEX ota.device_pkey ATTACH PARTITION ota.device_9_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_0_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_10_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_11_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_12_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_13_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_14_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_15_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_1_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_2_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_3_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_4_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_5_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_6_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_7_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_8_pkey;
ALTER INDEX ota.device_place_pkey ATTACH PARTITION ota.device_place_9_pkey;
