-- What an operator may ask the database directly. Nothing of ours reads these views: they may change with
-- any version, and they are only as fast as reading every row they are about. `ota_view` can be opened to
-- people who may not touch the tables: GRANT USAGE ON SCHEMA ota_view TO ...; and SELECT on its views.

CREATE SCHEMA ota_view;

-- Text that may hold what Postgres does not take for text: then as it is escaped.
CREATE FUNCTION ota_view.to_text(bytes bytea) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN position('\x00'::bytea IN bytes) = 0 THEN convert_from(bytes, 'UTF8')
                ELSE encode(bytes, 'escape') END
$$;

-- Milliseconds since 1970; 0 is never.
CREATE FUNCTION ota_view.to_time(milliseconds numeric) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN milliseconds BETWEEN 1 AND 9000000000000000 / 1000
                THEN to_timestamp(milliseconds::float8 / 1000) END
$$;

CREATE FUNCTION ota_view.to_number(bytes bytea) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    number numeric := 0;
BEGIN
    FOR at IN 0 .. length(bytes) - 1 LOOP
        number := number * 256 + get_byte(bytes, at);
    END LOOP;
    RETURN number;
END $$;

-- One item of CBOR (RFC 8949), and where the next one begins. Bytes become hex digits, the keys of maps text.
CREATE FUNCTION ota_view.cbor_item(bytes bytea, at integer, OUT item jsonb, OUT behind integer)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    major  integer := get_byte(bytes, at) >> 5;
    size   integer := get_byte(bytes, at) & 31;
    number numeric := size;
    name   jsonb;
    part   jsonb;
BEGIN
    behind := at + 1;
    IF size BETWEEN 24 AND 27 THEN
        number := ota_view.to_number(substring(bytes FROM behind + 1 FOR 1 << (size - 24)));
        behind := behind + (1 << (size - 24));
    ELSIF size > 27 THEN
        RAISE EXCEPTION 'no record of ours has such an item';
    END IF;
    CASE major
        WHEN 0 THEN item := to_jsonb(number);
        WHEN 1 THEN item := to_jsonb(-1 - number);
        WHEN 2 THEN
            item := to_jsonb(encode(substring(bytes FROM behind + 1 FOR number::integer), 'hex'));
            behind := behind + number::integer;
        WHEN 3 THEN
            item := to_jsonb(ota_view.to_text(substring(bytes FROM behind + 1 FOR number::integer)));
            behind := behind + number::integer;
        WHEN 4 THEN
            item := '[]';
            FOR place IN 1 .. number::integer LOOP
                SELECT found.item, found.behind INTO part, behind FROM ota_view.cbor_item(bytes, behind) AS found;
                item := item || jsonb_build_array(part);
            END LOOP;
        WHEN 5 THEN
            item := '{}';
            FOR place IN 1 .. number::integer LOOP
                SELECT found.item, found.behind INTO name, behind FROM ota_view.cbor_item(bytes, behind) AS found;
                SELECT found.item, found.behind INTO part, behind FROM ota_view.cbor_item(bytes, behind) AS found;
                item := item || jsonb_build_object(name #>> '{}', part);
            END LOOP;
        WHEN 6 THEN
            SELECT found.item, found.behind INTO item, behind FROM ota_view.cbor_item(bytes, behind) AS found;
        ELSE
            item := CASE size WHEN 20 THEN 'false'::jsonb WHEN 21 THEN 'true'::jsonb ELSE 'null'::jsonb END;
    END CASE;
END $$;

CREATE FUNCTION ota_view.cbor(bytes bytea) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT item FROM ota_view.cbor_item(bytes, 0)
$$;

-- The word for a number, counted from 0.
CREATE FUNCTION ota_view.word(number jsonb, words text[]) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT coalesce(words[number::integer + 1], number::text)
$$;

CREATE FUNCTION ota_view.phase(number numeric) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT ota_view.word(to_jsonb(number - 1), ARRAY['offered', 'downloading', 'downloaded', 'verified', 'installed',
        'confirmed', 'failed', 'rolled back', 'rejected', 'deferred', 'waiting', 'silent', 'cancelled'])
$$;

-- `WHERE key = 'the id'` finds one device at once.
CREATE VIEW ota_view.device AS
SELECT key,
       ota_view.to_text(key) AS id,
       body ->> '0' AS product,
       (body ->> '1')::numeric AS ordinal,
       (body ->> '2')::integer AS bucket,
       ota_view.to_time((body ->> '3')::numeric) AS registered,
       ota_view.to_time((body ->> '4')::numeric) AS heard,
       ota_view.word(body -> '5', ARRAY['active', 'quarantined', 'revoked']) AS status,
       body -> '7' AS installed,
       body -> '8' AS tags,
       (body ->> '9')::numeric AS campaign,
       version
FROM (SELECT key, version, ota_view.cbor(body) AS body FROM ota.device) AS device;

CREATE VIEW ota_view.attempt AS
SELECT key,
       ota_view.to_number(substring(key FOR 8)) AS campaign,
       ota_view.to_text(substring(key FROM 9)) AS device,
       body ->> '0' AS product,
       (body ->> '1')::integer AS stage,
       ota_view.phase((body ->> '2')::numeric) AS phase,
       (body ->> '3')::integer AS cause,
       ota_view.to_time((body ->> '7')::numeric) AS offered,
       ota_view.to_time((body ->> '8')::numeric) AS changed,
       ota_view.to_time((body ->> '9')::numeric) AS due,
       (body ->> '10')::integer AS retries,
       (body ->> '12')::numeric AS bytes_done,
       body ->> '16' AS site,
       body ->> '18' AS detail,
       version
FROM (SELECT key, version, ota_view.cbor(body) AS body FROM ota.attempt) AS attempt;

CREATE VIEW ota_view.product AS
SELECT ota_view.to_text(key) AS product,
       body ->> '0' AS title,
       ota_view.to_time((body ->> '1')::numeric) AS created,
       version
FROM (SELECT key, version, ota_view.cbor(body) AS body FROM ota.record WHERE kind = 1) AS product;

CREATE VIEW ota_view.release AS
SELECT encode(key, 'hex') AS release,
       body ->> '0' AS product,
       body ->> '1' AS package,
       (body ->> '2')::numeric AS number,
       ota_view.word(body -> '3', ARRAY['draft', 'fixed', 'signed', 'withdrawn']) AS status,
       body ->> '4' AS author,
       ota_view.to_time((body ->> '5')::numeric) AS created,
       body -> '9' AS files,
       version
FROM (SELECT key, version, ota_view.cbor(body) AS body FROM ota.record WHERE kind = 3) AS release;

CREATE VIEW ota_view.campaign AS
SELECT ota_view.to_number(key) AS campaign,
       body ->> '0' AS product,
       body ->> '1' AS title,
       body ->> '2' AS release,
       ota_view.word(body -> '7', ARRAY['draft', 'preparing', 'scheduled', 'trial', 'trialled', 'rolling', 'paused',
           'completed', 'stopped']) AS state,
       body ->> '8' AS reason,
       body ->> '5' AS author,
       ota_view.to_time((body ->> '6')::numeric) AS created,
       (body -> '10' ->> '0')::integer AS stage,
       version
FROM (SELECT key, version, ota_view.cbor(body) AS body FROM ota.record WHERE kind = 6) AS campaign;

-- The sums of counters, as the program itself reads them.
CREATE VIEW ota_view.devices_of_product AS
SELECT ota_view.to_text(substring(key FROM 2)) AS product, sum(value) AS devices
FROM ota.counter WHERE key >= '\x01' AND key < '\x02' GROUP BY key HAVING sum(value) <> 0;

CREATE VIEW ota_view.progress AS
SELECT ota_view.to_number(substring(key FROM 2 FOR 8)) AS campaign,
       ota_view.to_number(substring(key FROM 10 FOR 2)) AS stage,
       ota_view.phase(get_byte(key, 11)) AS phase,
       ota_view.to_number(substring(key FROM 13 FOR 2)) AS cause,
       sum(value) AS devices
FROM ota.counter WHERE key >= '\x04' AND key < '\x05' GROUP BY key HAVING sum(value) <> 0;

-- Devices by the hour in which they were last heard.
CREATE VIEW ota_view.heard AS
SELECT ota_view.to_text(substring(key FROM 2 FOR length(key) - 6)) AS product,
       to_timestamp(ota_view.to_number(substring(key FROM length(key) - 3))::float8 * 3600) AS hour,
       sum(value) AS devices
FROM ota.counter WHERE key >= '\x03' AND key < '\x04' GROUP BY key HAVING sum(value) <> 0;

CREATE VIEW ota_view.installed AS
SELECT ota_view.to_text(counted.product) AS product,
       ota_view.cbor(file.body) ->> '0' AS file,
       coalesce(ota_view.cbor(revision.body) ->> '0', 'unknown') AS revision,
       counted.devices
FROM (SELECT substring(key FROM 2 FOR length(key) - 10) AS product,
             substring(key FROM length(key) - 7 FOR 4) AS file,
             substring(key FROM length(key) - 3) AS revision,
             sum(value) AS devices
      FROM ota.counter WHERE key >= '\x02' AND key < '\x03' GROUP BY key HAVING sum(value) <> 0) AS counted
LEFT JOIN ota.record AS file ON file.kind = 8 AND file.key = counted.product || '\x00'::bytea || counted.file
LEFT JOIN ota.record AS revision
    ON revision.kind = 8 AND revision.key = counted.product || '\x00'::bytea || counted.revision;

CREATE VIEW ota_view.audit AS
SELECT sequence, ota_view.to_time(at) AS at, ota_view.to_text(principal) AS principal, ota_view.to_text(action) AS action,
       ota_view.to_text(subject) AS subject, ota_view.to_text(product) AS product, ota_view.to_text(detail) AS detail,
       encode(hash, 'hex') AS hash
FROM ota.audit;

CREATE VIEW ota_view.lease AS
SELECT ota_view.to_text(name) AS name, ota_view.to_text(holder) AS holder, token, until, until > clock_timestamp() AS is_held
FROM ota.lease;
