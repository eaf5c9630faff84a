-- Recounts one jeu of a live from the stored notes, independently of the server. For the sqlite3 shell:
--
--   sqlite3 -header -cmd ".parameter set :live '019b76da-a800-7000-8000-000000000001'" -cmd ".parameter set :jeu 2" \
--           bareme-data/bareme.sqlite3 < docs/recount.sql
--
-- It reads `notes` and every chunk of the journal, takes each viewer's greatest (version, payload), and counts. It is
-- exact at any moment, on a running server too: one statement sees one state of the file. docs/data-model.md has the
-- layouts that it takes apart, and a shorter query for when `notes` alone is complete.
--
-- Bytes are handled as hexadecimal text, where two digits are a byte and the order of texts is the order of bytes.
WITH RECURSIVE
  digits(d) AS (VALUES ('0123456789ABCDEF')),
  -- A chunk in hexadecimal, and how many entries it has: a little-endian u16 at byte 14.
  chunks(hex, count) AS (
    SELECT hex(chunk),
           4096 * (instr(d, substr(hex(chunk), 31, 1)) - 1) + 256 * (instr(d, substr(hex(chunk), 32, 1)) - 1)
           + 16 * (instr(d, substr(hex(chunk), 29, 1)) - 1) + instr(d, substr(hex(chunk), 30, 1)) - 1
    FROM digits, journal
    JOIN lanes ON lane = id >> 36
    JOIN items USING (item)
    WHERE live_id = :live AND jeu_id = :jeu),
  -- Its entries, one after the other: viewer (16 bytes), version (u64), length (u16, below 256 for notes), payload.
  walk(hex, at, remaining, viewer, version, payload) AS (
    SELECT hex, 33, count, NULL, NULL, NULL FROM chunks
    UNION ALL
    SELECT hex,
           at + 52 + 2 * (16 * (instr(d, substr(hex, at + 48, 1)) - 1) + instr(d, substr(hex, at + 49, 1)) - 1),
           remaining - 1,
           substr(hex, at, 32),
           substr(hex, at + 46, 2) || substr(hex, at + 44, 2) || substr(hex, at + 42, 2) || substr(hex, at + 40, 2)
           || substr(hex, at + 38, 2) || substr(hex, at + 36, 2) || substr(hex, at + 34, 2) || substr(hex, at + 32, 2),
           substr(hex, at + 52,
                  2 * (16 * (instr(d, substr(hex, at + 48, 1)) - 1) + instr(d, substr(hex, at + 49, 1)) - 1))
    FROM walk, digits WHERE remaining > 0),
  entries(viewer, version, payload) AS (
    SELECT viewer, version, payload FROM walk WHERE viewer IS NOT NULL
    UNION ALL
    SELECT hex(viewer), printf('%016X', version), hex(payload)
    FROM notes JOIN items USING (item) WHERE live_id = :live AND jeu_id = :jeu),
  -- What counts of each viewer: the greatest version, and of equal ones the greatest bytes.
  counted(viewer, payload) AS (
    SELECT viewer, substr(max(version || payload), 17) FROM entries GROUP BY viewer),
  -- One row for each viewer and critere; step 255 is "sans avis".
  steps(viewer, position, critere, step) AS (
    SELECT viewer, key, value,
           16 * (instr(d, substr(payload, 3 + 2 * key, 1)) - 1) + instr(d, substr(payload, 4 + 2 * key, 1)) - 1
    FROM digits, counted, json_each((SELECT body FROM v_lives WHERE live_id = :live), '$.bareme.criteres'))
SELECT json_extract(critere, '$.key') AS critere,
       count(*) AS count,
       json_extract(critere, '$.min') + json_extract(critere, '$.step') * sum(step) * 1.0 / count(*) AS mean,
       (SELECT count(DISTINCT viewer) FROM steps WHERE step <> 255) AS voters
FROM steps WHERE step <> 255 GROUP BY position ORDER BY position;
