"""The statements by which DBeaver, Metabase, pgAdmin and Tableau (psqlODBC) find out what there is, and those they make of a chart.

They are of the form that the tools' public sources have; their rows are compared with the documented tables and with the rows that there are.
"""
import collections
import datetime

import psycopg
from psycopg.rows import dict_row

from gate import *

TABLE = {table.full_name: table for table in TABLES}
NAMES = sorted((table.schema, table.name) for table in TABLES)
KINDS = {False: "r", True: "v"}
OURS = ["advice", "public", "rollup", "system"]
JOBS = TABLE["public.jobs"]


def ask(sql, **more):
    with psycopg.connect(host=HOST, port=PORT, dbname=DATABASE, user="postgres", row_factory=dict_row, **more) as connection:
        return connection.execute(sql).fetchall()


def column(rows, name):
    return [row[name] for row in rows]


def of(table, name):
    at = [one["name"] for one in table.columns].index(name)
    return [row[at] for row in table.rows]


@check("DBeaver: session, database and settings")
def _():
    assert ask("SELECT current_schema(),session_user") == [{"current_schema": "public", "session_user": "postgres"}]
    (database,) = ask("SELECT db.oid,db.* FROM pg_catalog.pg_database db WHERE datname = 'spark'")
    assert database["datname"] == "spark" and database["oid"] > 0, database
    assert ask("select * from pg_catalog.pg_settings where name='standard_conforming_strings'")[0]["setting"] == "on"
    words = ask("select string_agg(word, ',') from pg_catalog.pg_get_keywords() where word <> ALL ('{a,abs,absolute,action}'::text[])")[0]["string_agg"]
    assert "select" in words.split(",") and "absolute" not in words.split(",")


@check("DBeaver: the schemas")
def _():
    rows = ask(
        "SELECT n.oid,n.*,d.description FROM pg_catalog.pg_namespace n LEFT OUTER JOIN pg_catalog.pg_description d "
        "ON d.objoid=n.oid AND d.objsubid=0 AND d.classoid='pg_namespace'::regclass ORDER BY nspname"
    )
    assert sorted(set(column(rows, "nspname")) - {"pg_catalog", "information_schema", "pg_toast"}) == OURS, rows


@check("DBeaver: types with what they are made of")
def _():
    rows = ask(
        "SELECT t.oid,t.*,c.relkind,format_type(nullif(t.typbasetype, 0), t.typtypmod) as base_type_name, d.description FROM pg_catalog.pg_type t "
        "LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid=t.typelem LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid=t.typrelid "
        "LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid=d.objoid "
        "WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C')"
    )
    oids = {row["typname"]: row["oid"] for row in rows}
    assert (oids["int4"], oids["text"], oids["timestamptz"], oids["jsonb"], oids["_text"]) == (23, 25, 1184, 3802, 1009)


@check("DBeaver: tables of a schema with their comments")
def _():
    for schema in OURS:
        rows = ask(
            "SELECT c.oid,c.*,d.description,pg_catalog.pg_get_expr(c.relpartbound, c.oid) as partition_expr, pg_catalog.pg_get_partkeydef(c.oid) as partition_key "
            "FROM pg_catalog.pg_class c LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_class'::regclass "
            f"WHERE c.relnamespace=(select oid from pg_namespace where nspname='{schema}') AND c.relkind not in ('i','I','c')"
        )
        seen = sorted((row["relname"], row["relkind"]) for row in rows)
        assert seen == sorted((table.name, KINDS[table.is_view]) for table in TABLES if table.schema == schema), seen
        assert all(row["description"] for row in rows if schema == "public"), schema


@check("DBeaver: columns with types and comments")
def _():
    rows = ask(
        "SELECT c.relname,a.*,pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) as def_value,dsc.description,dep.objid "
        "FROM pg_catalog.pg_attribute a INNER JOIN pg_catalog.pg_class c ON (a.attrelid=c.oid) "
        "LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid=ad.adrelid AND a.attnum = ad.adnum) "
        "LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid) "
        "LEFT OUTER JOIN pg_depend dep on dep.refobjid = a.attrelid AND dep.deptype = 'i' and dep.refobjsubid = a.attnum and dep.classid = dep.refclassid "
        "WHERE NOT a.attisdropped and c.relkind not in ('i','I','c') AND c.oid='public.jobs'::regclass ORDER BY a.attnum"
    )
    assert [(row["attname"], row["attnotnull"]) for row in rows] == [(one["name"], not one["nullable"]) for one in JOBS.columns]
    assert all(row["description"].startswith(one["comment"]) for row, one in zip(rows, JOBS.columns)), rows


@check("DBeaver: constraints and indexes, of which there are none")
def _():
    constraints = (
        "SELECT c.oid,c.*,t.relname as tabrelname,rt.relnamespace as refnamespace,d.description FROM pg_catalog.pg_constraint c "
        "INNER JOIN pg_catalog.pg_class t ON t.oid=c.conrelid LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid=c.confrelid "
        "LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid=c.oid AND d.objsubid=0 AND d.classoid='pg_constraint'::regclass "
        "WHERE c.conrelid='jobs'::regclass ORDER BY c.oid"
    )
    indexes = (
        "SELECT i.*,i.indkey as keys,c.relname,c.relnamespace,tc.relname as tabrelname,dsc.description,pg_catalog.pg_get_expr(i.indpred, i.indrelid) as pred_expr,"
        "pg_catalog.pg_relation_size(i.indexrelid) as index_rel_size,pg_catalog.pg_stat_get_numscans(i.indexrelid) as index_num_scans "
        "FROM pg_catalog.pg_index i INNER JOIN pg_catalog.pg_class c ON c.oid=i.indexrelid INNER JOIN pg_catalog.pg_class tc ON tc.oid=i.indrelid "
        "LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid=dsc.objoid WHERE i.indrelid='jobs'::regclass ORDER BY tabrelname, c.relname"
    )
    assert ask(constraints) == [] and ask(indexes) == []


@check("DBeaver: the definition of a view can be run")
def _():
    (row,) = ask("SELECT pg_catalog.pg_get_viewdef('advice.skewed_stages'::regclass, true) as sql")
    seen = ask(f"select count(*) as n from ({row['sql'].rstrip().rstrip(';')}) v")
    assert seen == ask("select count(*) as n from advice.skewed_stages"), seen


@check("DBeaver: roles")
def _():
    rows = ask("SELECT r.oid,r.*,pg_catalog.shobj_description(r.oid, 'pg_authid') AS description FROM pg_catalog.pg_roles r ORDER BY r.rolname")
    assert "postgres" in column(rows, "rolname"), rows


@check("DBeaver: rows of a table, beside one of its columns")
def _():
    rows = ask("select job_id, * from jobs order by app_id, job_id")
    with_table = ask("select j.job_id, j.*, j.status from public.jobs j order by app_id, job_id")
    assert sorted(column(rows, "app_id")) == sorted(column(with_table, "app_id")) == sorted(of(JOBS, "app_id"))


@check("Metabase: schemas that somebody may use")
def _():
    rows = ask("SELECT nspname AS \"schema\" FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND has_schema_privilege(nspname, 'USAGE')")
    assert sorted(column(rows, "schema")) == OURS


@check("Metabase: tables with the rows they may have")
def _():
    rows = ask(
        """SELECT "n"."nspname" AS "schema", "c"."relname" AS "name", CASE "c"."relkind" WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE'
        WHEN 'v' THEN 'VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END AS "type", "d"."description" AS "description",
        GREATEST(0, c.reltuples) AS "estimated_row_count" FROM "pg_catalog"."pg_class" AS "c"
        INNER JOIN "pg_catalog"."pg_namespace" AS "n" ON "c"."relnamespace" = "n"."oid"
        LEFT JOIN "pg_catalog"."pg_description" AS "d" ON ("c"."oid" = "d"."objoid") AND ("d"."objsubid" = 0) AND ("d"."classoid" = 'pg_class'::regclass)
        WHERE ("n"."nspname" !~ '^information_schema|catalog_history|pg_') AND ("c"."relkind" IN ('r', 'p', 'v', 'f', 'm'))
        ORDER BY "type" ASC, "schema" ASC, "name" ASC"""
    )
    assert sorted((row["schema"], row["name"]) for row in rows) == NAMES
    assert column(rows, "type") == sorted(column(rows, "type"))


@check("Metabase: fields with their database's types")
def _():
    rows = ask(
        """SELECT "c"."column_name" AS "name", "c"."udt_name" AS "database-type", "c"."ordinal_position" - 1 AS "database-position",
        "c"."table_schema" AS "table-schema", "c"."table_name" AS "table-name", "pk"."column_name" IS NOT NULL AS "pk?",
        COL_DESCRIPTION(CAST(CAST(FORMAT('%I.%I', CAST("c"."table_schema" AS TEXT), CAST("c"."table_name" AS TEXT)) AS REGCLASS) AS OID), "c"."ordinal_position") AS "field-comment",
        (("column_default" IS NULL) OR (LOWER("column_default") = 'null')) AND ("is_nullable" = 'NO')
        AND NOT ((("column_default" IS NOT NULL) AND ("column_default" LIKE '%nextval(%')) OR ("is_identity" <> 'NO')) AS "database-required"
        FROM "information_schema"."columns" AS "c"
        LEFT JOIN (SELECT "tc"."table_schema", "tc"."table_name", "kc"."column_name" FROM "information_schema"."table_constraints" AS "tc"
        INNER JOIN "information_schema"."key_column_usage" AS "kc" ON ("tc"."constraint_name" = "kc"."constraint_name")
        AND ("tc"."table_schema" = "kc"."table_schema") AND ("tc"."table_name" = "kc"."table_name") WHERE "tc"."constraint_type" = 'PRIMARY KEY') AS "pk"
        ON ("c"."table_schema" = "pk"."table_schema") AND ("c"."table_name" = "pk"."table_name") AND ("c"."column_name" = "pk"."column_name")
        WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND ("c"."table_schema" IN ('public')) AND ("c"."table_name" IN ('jobs'))
        ORDER BY "table-schema" ASC, "table-name" ASC, "database-position" ASC"""
    )
    assert [(row["name"], row["database-required"], row["pk?"]) for row in rows] == [(one["name"], not one["nullable"], False) for one in JOBS.columns]
    assert all(row["field-comment"].startswith(one["comment"]) for row, one in zip(rows, JOBS.columns))
    assert {row["name"]: row["database-type"] for row in rows}["stage_ids"] == "_int4"


@check("Metabase: what the user may do with each table")
def _():
    rows = ask(
        """with table_privileges as (select NULL as role, t.schemaname as schema, t.objectname as table,
        pg_catalog.has_any_column_privilege(current_user, '"' || t.schemaname || '"' || '.' || '"' || t.objectname || '"', 'update') as update,
        pg_catalog.has_table_privilege(current_user, '"' || t.schemaname || '"' || '.' || '"' || t.objectname || '"', 'SELECT') as select
        from (select schemaname, tablename as objectname from pg_catalog.pg_tables union select schemaname, viewname as objectname from pg_catalog.pg_views
        union select schemaname, matviewname as objectname from pg_catalog.pg_matviews) t
        where t.schemaname !~ '^pg_' and t.schemaname <> 'information_schema' and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage'))
        select t.* from table_privileges t"""
    )
    assert sorted((row["schema"], row["table"]) for row in rows) == NAMES
    assert set(column(rows, "select")) == {True} and set(column(rows, "update")) == {False}


@check("Metabase: a number in bins, a month, a day of the week")
def _():
    rows = ask(
        'SELECT FLOOR(("public"."jobs"."num_tasks" / 10.0)) * 10.0 AS "num_tasks", count(*) AS "count" FROM "public"."jobs" '
        'GROUP BY FLOOR(("public"."jobs"."num_tasks" / 10.0)) * 10.0 ORDER BY FLOOR(("public"."jobs"."num_tasks" / 10.0)) * 10.0 ASC'
    )
    wanted = collections.Counter(tasks // 10 * 10 for tasks in of(JOBS, "num_tasks"))
    assert [(int(row["num_tasks"]), row["count"]) for row in rows] == sorted(wanted.items()), rows
    starts = [datetime.datetime.fromisoformat(start) for start in of(TABLE["public.applications"], "start_time")]
    rows = ask(
        'SELECT date_trunc(\'month\', "public"."applications"."start_time") AS "start_time", count(*) AS "count" FROM "public"."applications" '
        'WHERE "public"."applications"."start_time" >= date_trunc(\'year\', NOW() + INTERVAL \'-90 year\') '
        'GROUP BY date_trunc(\'month\', "public"."applications"."start_time") ORDER BY date_trunc(\'month\', "public"."applications"."start_time") ASC'
    )
    wanted = collections.Counter((start.year, start.month) for start in starts)
    assert [((row["start_time"].year, row["start_time"].month), row["count"]) for row in rows] == sorted(wanted.items()), rows
    rows = ask('SELECT CAST(extract(dow from "public"."applications"."start_time") AS integer) + 1 as dow, count(*) as n FROM "public"."applications" GROUP BY 1 ORDER BY 1')
    wanted = collections.Counter(start.isoweekday() % 7 + 1 for start in starts)
    assert [(row["dow"], row["n"]) for row in rows] == sorted(wanted.items()), rows


@check("pgAdmin: role, database, schemas")
def _():
    role = ask("SELECT roles.oid as id, roles.rolname as name, roles.rolsuper as is_superuser, CASE WHEN roles.rolsuper THEN true ELSE roles.rolcreatedb END as can_create_db FROM pg_catalog.pg_roles as roles WHERE rolname = current_user")
    assert column(role, "name") == ["postgres"], role
    database = ask(
        "SELECT db.oid as did, db.datname as name, ta.spcname as spcname, db.datallowconn, db.datistemplate AS is_template, "
        "pg_catalog.has_database_privilege(db.oid, 'CREATE') as cancreate, datdba as owner, descr.description FROM pg_catalog.pg_database db "
        "LEFT OUTER JOIN pg_catalog.pg_tablespace ta ON db.dattablespace = ta.oid "
        "LEFT OUTER JOIN pg_catalog.pg_shdescription descr ON (db.oid=descr.objoid AND descr.classoid='pg_database'::regclass) WHERE db.oid > 0 ORDER BY datname"
    )
    assert [(row["name"], row["cancreate"]) for row in database] == [("spark", False)], database
    schemas = ask(
        r"SELECT nsp.oid, nsp.nspname as name, pg_catalog.has_schema_privilege(nsp.oid, 'CREATE') as can_create, "
        r"pg_catalog.has_schema_privilege(nsp.oid, 'USAGE') as has_usage, des.description FROM pg_catalog.pg_namespace nsp "
        r"LEFT OUTER JOIN pg_catalog.pg_description des ON (des.objoid=nsp.oid AND des.classoid='pg_namespace'::regclass) "
        r"WHERE nspname NOT LIKE E'pg\\_%' AND NOT ((nsp.nspname = 'information_schema' AND EXISTS "
        r"(SELECT 1 FROM pg_catalog.pg_class WHERE relname = 'tables' AND relnamespace = nsp.oid LIMIT 1))) ORDER BY nspname"
    )
    assert [(row["name"], row["can_create"], row["has_usage"]) for row in schemas] == [(name, False, True) for name in OURS], schemas


@check("pgAdmin: tables of a schema, with triggers and children that there are none of")
def _():
    (schema,) = ask("select oid from pg_namespace where nspname = 'public'")
    rows = ask(
        "SELECT rel.oid, rel.relname AS name, (SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgrelid=rel.oid AND tgisinternal = FALSE) AS triggercount, "
        "(CASE WHEN rel.relkind = 'p' THEN true ELSE false END) AS is_partitioned, "
        "(SELECT count(1) FROM pg_catalog.pg_inherits WHERE inhrelid=rel.oid LIMIT 1) as is_inherits, des.description FROM pg_catalog.pg_class rel "
        "LEFT OUTER JOIN pg_catalog.pg_description des ON (des.objoid=rel.oid AND des.objsubid=0 AND des.classoid='pg_class'::regclass) "
        f"WHERE rel.relkind IN ('r','s','t','p') AND rel.relnamespace = {schema['oid']}::oid AND NOT rel.relispartition ORDER BY rel.relname"
    )
    assert column(rows, "name") == sorted(table.name for table in TABLES if table.schema == "public" and not table.is_view)
    assert {(row["triggercount"], row["is_partitioned"], row["is_inherits"]) for row in rows} == {(0, False, 0)}


@check("pgAdmin: columns")
def _():
    rows = ask(
        "SELECT DISTINCT att.attname as name, att.attnum as OID, pg_catalog.format_type(ty.oid,NULL) AS datatype, att.attnotnull as not_null, "
        "CASE WHEN att.atthasdef OR att.attidentity != '' OR ty.typdefault IS NOT NULL THEN True ELSE False END as has_default_val, des.description "
        "FROM pg_catalog.pg_attribute att JOIN pg_catalog.pg_type ty ON ty.oid=atttypid JOIN pg_catalog.pg_namespace tn ON tn.oid=ty.typnamespace "
        "JOIN pg_catalog.pg_class cl ON cl.oid=att.attrelid JOIN pg_catalog.pg_namespace na ON na.oid=cl.relnamespace "
        "LEFT OUTER JOIN pg_catalog.pg_attrdef def ON adrelid=att.attrelid AND adnum=att.attnum "
        "LEFT OUTER JOIN (pg_catalog.pg_depend JOIN pg_catalog.pg_class cs ON classid='pg_class'::regclass AND objid=cs.oid AND cs.relkind='S') ON refobjid=att.attrelid AND refobjsubid=att.attnum "
        "LEFT OUTER JOIN pg_catalog.pg_index pi ON pi.indrelid=att.attrelid AND indisprimary "
        "LEFT OUTER JOIN pg_catalog.pg_description des ON (des.objoid=att.attrelid AND des.objsubid=att.attnum AND des.classoid='pg_class'::regclass) "
        "WHERE att.attrelid = 'jobs'::regclass::oid AND att.attnum > 0 AND att.attisdropped IS FALSE ORDER BY att.attnum"
    )
    assert [(row["name"], row["datatype"], row["not_null"]) for row in rows] == [(one["name"], one["type"], not one["nullable"]) for one in JOBS.columns], rows


@check("pgAdmin: the dashboard")
def _():
    (row,) = ask(
        "SELECT 'session_stats' AS chart_name, pg_catalog.row_to_json(t) AS chart_data FROM (SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity) AS \"Total\", "
        "(SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'active') AS \"Active\", (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE state = 'idle') AS \"Idle\") t"
    )
    data = row["chart_data"]
    assert data["Active"] >= 1 and data["Total"] >= data["Active"] + data["Idle"], row
    rows = ask(
        "SELECT pid, datname, usename, application_name, client_addr, pg_catalog.to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') AS backend_start, state, "
        "wait_event_type || ': ' || wait_event AS wait_event, array_to_string(pg_catalog.pg_blocking_pids(pid), ', ') AS blocking_pids, query "
        "FROM pg_catalog.pg_stat_activity ORDER BY pid",
        application_name="pgAdmin",
    )
    mine = [one for one in rows if one["application_name"] == "pgAdmin"]
    assert [(one["datname"], one["usename"], one["state"], one["blocking_pids"]) for one in mine] == [("spark", "postgres", "active", "")], rows
    assert ask("SELECT pg_catalog.pg_is_in_recovery() as r, CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_is_wal_replay_paused() ELSE false END AS paused") == [{"r": False, "paused": False}]


@check("Tableau: tables, columns and keys through psqlODBC")
def _():
    rows = ask(
        "select relname, nspname, relkind from pg_catalog.pg_class c, pg_catalog.pg_namespace n where relkind in ('r', 'v', 'm', 'f', 'p') "
        "and nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pg_temp_1') and n.oid = relnamespace order by nspname, relname"
    )
    assert [(row["nspname"], row["relname"], row["relkind"]) for row in rows] == sorted((table.schema, table.name, KINDS[table.is_view]) for table in TABLES)
    rows = ask(
        "select n.nspname, c.relname, a.attname, a.atttypid, t.typname, a.attnum, a.attlen, a.atttypmod, a.attnotnull, c.relhasrules, c.relkind, c.oid, "
        "pg_get_expr(d.adbin, d.adrelid), case t.typtype when 'd' then t.typbasetype else 0 end, t.typtypmod, 0, attidentity, c.relhassubclass "
        "from (((pg_catalog.pg_class c inner join pg_catalog.pg_namespace n on n.oid = c.relnamespace and c.relname like E'jobs' and n.nspname like E'public') "
        "inner join pg_catalog.pg_attribute a on (not a.attisdropped) and a.attnum > 0 and a.attrelid = c.oid) inner join pg_catalog.pg_type t on t.oid = a.atttypid) "
        "left outer join pg_attrdef d on a.atthasdef and d.adrelid = a.attrelid and d.adnum = a.attnum order by n.nspname, c.relname, attnum"
    )
    assert [row["attname"] for row in rows] == [one["name"] for one in JOBS.columns]
    keys = (
        "select ta.attname, ia.attnum, ic.relname, n.nspname, tc.relname from pg_catalog.pg_attribute ta, pg_catalog.pg_attribute ia, pg_catalog.pg_class tc, "
        "pg_catalog.pg_index i, pg_catalog.pg_namespace n, pg_catalog.pg_class ic where tc.relname = 'jobs' AND n.nspname = 'public' AND tc.oid = i.indrelid "
        "AND n.oid = tc.relnamespace AND i.indisprimary = 't' AND ia.attrelid = i.indexrelid AND ta.attrelid = i.indrelid AND ta.attnum = i.indkey[ia.attnum-1] "
        "AND (NOT ta.attisdropped) AND (NOT ia.attisdropped) AND ic.oid = i.indexrelid order by ia.attnum"
    )
    assert ask(keys) == []


@check("Tableau: a sheet, a quarter, a blend")
def _():
    rows = ask('SELECT "jobs"."status" AS "status", SUM(1) AS "sum:Number of Records:ok", SUM("jobs"."num_tasks") AS "sum:num_tasks:ok" FROM "public"."jobs" "jobs" GROUP BY 1')
    counts, tasks = collections.Counter(of(JOBS, "status")), collections.Counter()
    for status, number in zip(of(JOBS, "status"), of(JOBS, "num_tasks")):
        tasks[status] += number
    assert {row["status"]: (row["sum:Number of Records:ok"], row["sum:num_tasks:ok"]) for row in rows} == {status: (n, tasks[status]) for status, n in counts.items()}
    rows = ask('SELECT DATE_TRUNC(\'QUARTER\', CAST("applications"."start_time" AS TIMESTAMP)) AS "tqr", COUNT(DISTINCT "applications"."app_id") AS "ctd" FROM "public"."applications" "applications" GROUP BY 1')
    starts = [datetime.datetime.fromisoformat(start) for start in of(TABLE["public.applications"], "start_time")]
    wanted = collections.Counter(datetime.datetime(start.year, (start.month - 1) // 3 * 3 + 1, 1) for start in starts)
    assert {row["tqr"]: row["ctd"] for row in rows} == wanted, rows
    rows = ask(
        'SELECT "t0"."status" AS "status", "t1"."n" AS "n" FROM (SELECT "jobs"."status" AS "status" FROM "public"."jobs" "jobs" GROUP BY 1) "t0" '
        'INNER JOIN (SELECT "jobs"."status" AS "status", COUNT(1) AS "n" FROM "public"."jobs" "jobs" GROUP BY 1) "t1" '
        'ON (("t0"."status" = "t1"."status") OR (("t0"."status" IS NULL) AND ("t1"."status" IS NULL)))'
    )
    assert {row["status"]: row["n"] for row in rows} == counts
    assert ask('SELECT * FROM (SELECT * FROM "public"."jobs") "T" WHERE (0 = 1)') == []


finish()
