package main

import (
	"database/sql"
	"fmt"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
)

// What is in the search path, as Grafana writes it.
const searchPath = `SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END
          FROM generate_series(
            array_lower(string_to_array(current_setting('search_path'),','),1),
            array_upper(string_to_array(current_setting('search_path'),','),1)
          ) as i,
          string_to_array(current_setting('search_path'),',') s`

const systemSchemas = `'information_schema', 'pg_catalog', '_timescaledb_cache', '_timescaledb_catalog', '_timescaledb_internal',
      '_timescaledb_config', 'timescaledb_information', 'timescaledb_experimental'`

// grafana sends what its data source, query editor and macros send: older versions through database/sql, newer ones as simple
// statements. They are of its source and of captured traffic.
func grafana(tables []table) {
	db, err := sql.Open("pgx", address("user=postgres"))
	try(err)
	defer db.Close()
	// Rows as texts, by both ways, which have to agree.
	ask := func(statement string) [][]string {
		rows, err := db.QueryContext(ctx, statement)
		try(err)
		defer rows.Close()
		columns, err := rows.ColumnTypes()
		try(err)
		var seen [][]string
		for rows.Next() {
			cells := make([]sql.NullString, len(columns))
			pointers := make([]any, len(columns))
			for at := range cells {
				pointers[at] = &cells[at]
			}
			try(rows.Scan(pointers...))
			row := make([]string, len(columns))
			for at, cell := range cells {
				row[at] = cell.String
			}
			seen = append(seen, row)
		}
		try(rows.Err())
		connection := connect(pgx.QueryExecModeSimpleProtocol, "")
		defer connection.Close(ctx)
		results, err := connection.PgConn().Exec(ctx, statement).ReadAll()
		try(err)
		must(len(results) == 1 && len(results[0].Rows) == len(seen), "%d rows as a simple statement", len(results[0].Rows))
		must(results[0].CommandTag.Select(), "the tag is %s", results[0].CommandTag)
		for at, field := range results[0].FieldDescriptions {
			_, known := connection.TypeMap().TypeForOID(field.DataTypeOID)
			must(known, "column %d has the unknown type %d", at, field.DataTypeOID)
		}
		return seen
	}
	column := func(statement string) []string {
		var seen []string
		for _, row := range ask(statement) {
			seen = append(seen, row[0])
		}
		return seen
	}
	check("grafana: health check", func() { must(ask("SELECT 1")[0][0] == "1", "not 1") })
	check("grafana: version", func() {
		seen := column("SELECT current_setting('server_version_num')::int/100 as version")
		must(len(seen) == 1 && len(seen[0]) == 4, "%v", seen)
	})
	check("grafana: is there TimescaleDB", func() {
		must(len(ask("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")) == 0, "there is")
	})
	check("grafana: tables of the search path", func() {
		seen := column(`select quote_ident(table_name) as "table" from information_schema.tables where quote_ident(table_schema) not in (` + systemSchemas +
			`) and table_type = 'BASE TABLE' and quote_ident(table_schema) IN (` + searchPath + `)`)
		var wanted []string
		for _, table := range tables {
			if table.Schema == "public" {
				wanted = append(wanted, table.Name)
			}
		}
		sort.Strings(seen)
		sort.Strings(wanted)
		must(strings.Join(seen, " ") == strings.Join(wanted, " "), "%v", seen)
	})
	check("grafana: tables of all schemas, those of the search path first", func() {
		seen := column(`SELECT
    CASE WHEN quote_ident(table_schema) IN (` + searchPath + `)
      THEN quote_ident(table_name)
      ELSE quote_ident(table_schema) || '.' || quote_ident(table_name)
    END AS "table"
    FROM information_schema.tables
    WHERE quote_ident(table_schema) NOT IN (` + systemSchemas + `)
    ORDER BY CASE WHEN quote_ident(table_schema) IN (` + searchPath + `) THEN 0 ELSE 1 END, 1`)
		var public, others []string
		for _, table := range tables {
			if table.Schema == "public" {
				public = append(public, table.Name)
			} else {
				others = append(others, table.Schema+"."+table.Name)
			}
		}
		sort.Strings(public)
		sort.Strings(others)
		must(strings.Join(seen, " ") == strings.Join(append(public, others...), " "), "%v", seen)
	})
	for _, table := range tables {
		check("grafana: columns of "+table.Schema+"."+table.Name, func() {
			full := table.Schema + "." + table.Name
			seen := ask(fmt.Sprintf(`select quote_ident(column_name) as "column", data_type as "type" from information_schema.columns
      where CASE WHEN array_length(parse_ident('%[1]s'),1) = 2
        THEN quote_ident(table_schema) = (parse_ident('%[1]s'))[1] AND quote_ident(table_name) = (parse_ident('%[1]s'))[2]
        ELSE quote_ident(table_name) = '%[1]s' AND quote_ident(table_schema) IN (%[2]s) END`, full, searchPath))
			must(len(seen) == len(table.Columns), "%d columns", len(seen))
			for at, wanted := range table.Columns {
				ty := wanted.Type
				if strings.HasSuffix(ty, "[]") {
					ty = "ARRAY"
				}
				must(seen[at][0] == `"`+wanted.Name+`"` || seen[at][0] == wanted.Name, "%v", seen[at])
				must(seen[at][1] == ty, "%v is %s", seen[at], ty)
			}
		})
	}
	filter := "submission_time BETWEEN '2020-01-01T00:00:00Z' AND '2030-01-01T00:00:00.123Z'"
	jobs := column("SELECT count(*) FROM jobs WHERE submission_time IS NOT NULL")[0]
	total := func(seen [][]string, at int) string {
		sum := 0
		for _, row := range seen {
			var count int
			_, err := fmt.Sscan(row[at], &count)
			try(err)
			sum += count
		}
		return fmt.Sprint(sum)
	}
	for _, macro := range []struct {
		name, statement string
		count           int
	}{
		{"$__timeGroup 5m", `SELECT floor(extract(epoch from submission_time)/300)*300 AS "time", count(*) AS value FROM jobs WHERE ` + filter + ` GROUP BY 1 ORDER BY 1`, 1},
		{"$__timeGroupAlias with a metric", `SELECT floor(extract(epoch from submission_time)/3600)*3600 AS "time", status AS metric, count(*) AS value FROM jobs WHERE ` + filter + ` GROUP BY 1,2 ORDER BY 1,2`, 2},
		{"$__unixEpochGroup", `SELECT floor((duration_ms)/300)*300 AS "time", count(*) FROM jobs WHERE submission_time IS NOT NULL GROUP BY 1 ORDER BY 1`, 1},
		{"$__unixEpochFilter", `SELECT 1, count(*) FROM jobs WHERE extract(epoch from submission_time) >= 1577836800 AND extract(epoch from submission_time) <= 1893456000`, 1},
		{"date_bin", `SELECT date_bin('5 minutes', submission_time, TIMESTAMPTZ '2000-01-01') AS "time", count(*) FROM jobs WHERE ` + filter + ` GROUP BY 1 ORDER BY 1`, 1},
		{"aggregates of the query builder", `SELECT AVG(duration_ms), status, COUNT(*) FROM public.jobs WHERE (submission_time IS NOT NULL) GROUP BY status LIMIT 50`, 2},
	} {
		check("grafana: "+macro.name, func() {
			seen := total(ask(macro.statement), macro.count)
			must(seen == jobs, "%s and not %s", seen, jobs)
		})
	}
	check("grafana: $__timeFilter, $__timeEpoch, a table of rows", func() {
		seen := ask(`SELECT submission_time AS "time", extract(epoch from submission_time) as "epoch", job_id, stage_ids, killed_tasks_summary FROM jobs WHERE ` + filter + ` ORDER BY 1`)
		must(fmt.Sprint(len(seen)) == jobs, "%d rows", len(seen))
	})
	check("grafana: a template variable, and a choice of several of its values", func() {
		seen := ask("SELECT DISTINCT app_id AS __text, app_id AS __value FROM jobs ORDER BY 1 LIMIT 3")
		must(len(seen) == 3, "%v", seen)
		chosen := fmt.Sprintf("SELECT count(DISTINCT app_id) FROM jobs WHERE app_id IN ('%s','%s','it''s')", seen[0][1], seen[1][1])
		must(column(chosen)[0] == "2", "not 2")
	})
	check("grafana: several statements in one panel", func() {
		connection := connect(pgx.QueryExecModeSimpleProtocol, "")
		defer connection.Close(ctx)
		results, err := connection.PgConn().Exec(ctx, "SELECT 1 AS a; SELECT 2 AS b, 3 AS c;").ReadAll()
		try(err)
		must(len(results) == 2 && len(results[1].FieldDescriptions) == 2, "%d results", len(results))
	})
}
