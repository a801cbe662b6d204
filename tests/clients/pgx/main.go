// pgx in each of its query modes, and what Grafana's PostgreSQL data source sends through it. tests/it/clients.rs says in CHECK_… where the
// server is and what it holds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	many    = "select v::int from generate_series(1, 1000000) as g(v) order by 1"
	endless = "select sum(v) from generate_series(1, 100000000000) as g(v)"
)

var ctx = context.Background()
var passed, failed int

// A failed expectation; check reports it.
type failure string

func must(holds bool, format string, values ...any) {
	if !holds {
		panic(failure(fmt.Sprintf(format, values...)))
	}
}

func try(err error) {
	if err != nil {
		panic(failure(err.Error()))
	}
}

func check(name string, body func()) {
	defer func() {
		if problem := recover(); problem != nil {
			failed++
			text := strings.Join(strings.Fields(fmt.Sprint(problem)), " ")
			if _, is := problem.(failure); !is {
				stack := make([]byte, 4096)
				text += " " + strings.Join(strings.Fields(string(stack[:runtime.Stack(stack, false)])), " ")
			}
			fmt.Printf("FAIL %s: %s\n", name, text[:min(2000, len(text))])
		} else {
			passed++
			fmt.Println("ok  ", name)
		}
	}()
	body()
}

func address(more string) string {
	return fmt.Sprintf("host=%s port=%s dbname=spark connect_timeout=20 %s", os.Getenv("CHECK_HOST"), os.Getenv("CHECK_PORT"), more)
}

func quoted(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

func connect(mode pgx.QueryExecMode, more string) *pgx.Conn {
	config, err := pgx.ParseConfig(address("user=postgres " + more))
	try(err)
	config.DefaultQueryExecMode = mode
	connection, err := pgx.ConnectConfig(ctx, config)
	try(err)
	return connection
}

// with is check with a connection.
func with(name string, mode pgx.QueryExecMode, body func(*pgx.Conn)) {
	check(name, func() {
		connection := connect(mode, "")
		defer connection.Close(ctx)
		body(connection)
	})
}

func failsWith(code string, err error) {
	var answer *pgconn.PgError
	must(errors.As(err, &answer), "no error of the server: %v", err)
	must(answer.Code == code, "%s: %s and not %s", answer.Code, answer.Message, code)
}

// isCancelled: a statement without end has to end soon after it was cancelled, and not before.
func isCancelled(body func() error) {
	begin := time.Now()
	err := body()
	took := time.Since(begin)
	must(took > 500*time.Millisecond && took < 30*time.Second, "it took %s", took)
	failsWith("57014", err)
}

func one[T any](connection *pgx.Conn, sql string, values ...any) T {
	var value T
	try(connection.QueryRow(ctx, sql, values...).Scan(&value))
	return value
}

func main() {
	modes := []struct {
		name string
		mode pgx.QueryExecMode
	}{
		{"cache_statement", pgx.QueryExecModeCacheStatement},
		{"cache_describe", pgx.QueryExecModeCacheDescribe},
		{"describe_exec", pgx.QueryExecModeDescribeExec},
		{"exec", pgx.QueryExecModeExec},
		{"simple_protocol", pgx.QueryExecModeSimpleProtocol},
	}
	tables := readTables()
	logIn()
	for _, mode := range modes {
		values(mode.name, mode.mode, tables)
		parameters(mode.name, mode.mode)
		statements(mode.name, mode.mode)
	}
	connections()
	grafana(tables)
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if passed == 0 || failed > 0 {
		os.Exit(1)
	}
}

func logIn() {
	user, password, ca := os.Getenv("CHECK_USER"), os.Getenv("CHECK_PASSWORD"), os.Getenv("CHECK_CA")
	check("log-in with SCRAM over TLS that is verified", func() {
		for _, binding := range []string{"prefer", "require", "disable"} {
			connection, err := pgx.Connect(ctx, address(fmt.Sprintf("user=%s password=%s sslmode=verify-full sslrootcert=%s channel_binding=%s", user, quoted(password), quoted(ca), binding)))
			try(err)
			must(one[string](connection, "select current_user") == user, "another user")
			try(connection.Close(ctx))
		}
	})
	check("a wrong password is 28P01, and none works without TLS", func() {
		_, err := pgx.Connect(ctx, address(fmt.Sprintf("user=%s password=wrong sslmode=require", user)))
		failsWith("28P01", err)
		_, err = pgx.Connect(ctx, address(fmt.Sprintf("user=%s password=%s sslmode=disable", user, quoted(password))))
		failsWith("28000", err)
	})
}

func statements(name string, mode pgx.QueryExecMode) {
	for sql, code := range map[string]string{
		"select * from nowhere": "42P01", "select nothing from applications": "42703", "selec 1": "42601", "select 1 / 0": "22012",
		"select 'x'::int": "22P02", "select no_such_function(1)": "42883", "create table t (a int)": "25006", "delete from jobs": "25006",
	} {
		with(name+": "+code+": "+sql, mode, func(connection *pgx.Conn) {
			_, err := connection.Exec(ctx, sql)
			failsWith(code, err)
			must(one[int](connection, "select 1") == 1, "the session does not go on")
		})
	}
	with(name+": command tags and descriptions", mode, func(connection *pgx.Conn) {
		tag, err := connection.Exec(ctx, "select * from jobs limit 3")
		try(err)
		must(tag.String() == "SELECT 3", "%s", tag)
		rows, err := connection.Query(ctx, "select app_id, job_id, submission_time from jobs limit 1")
		try(err)
		names := []string{}
		for _, field := range rows.FieldDescriptions() {
			names = append(names, fmt.Sprintf("%s:%d", field.Name, field.DataTypeOID))
		}
		rows.Close()
		must(strings.Join(names, " ") == "app_id:25 job_id:23 submission_time:1184", "%v", names)
	})
	with(name+": transactions and savepoints", mode, func(connection *pgx.Conn) {
		tx, err := connection.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		try(err)
		inner, err := tx.Begin(ctx)
		try(err)
		_, err = inner.Exec(ctx, "select * from nowhere")
		failsWith("42P01", err)
		_, err = inner.Exec(ctx, "select 1")
		failsWith("25P02", err)
		try(inner.Rollback(ctx))
		var seen int
		try(tx.QueryRow(ctx, "select 1").Scan(&seen))
		try(tx.Commit(ctx))
	})
	with(name+": a batch", mode, func(connection *pgx.Conn) {
		batch := &pgx.Batch{}
		for number := range 20 {
			batch.Queue("select $1::int * 2", number)
		}
		results := connection.SendBatch(ctx, batch)
		for number := range 20 {
			var seen int
			try(results.QueryRow().Scan(&seen))
			must(seen == number*2, "%d", seen)
		}
		try(results.Close())
	})
	with(name+": rows are closed before their end", mode, func(connection *pgx.Conn) {
		rows, err := connection.Query(ctx, many)
		try(err)
		for want := int32(1); want <= 5000; want++ {
			must(rows.Next(), "no row %d: %v", want, rows.Err())
			var seen int32
			try(rows.Scan(&seen))
			must(seen == want, "%d and not %d", seen, want)
		}
		rows.Close()
		try(rows.Err())
	})
	with(name+": a cancel request ends the statement and not the session", mode, func(connection *pgx.Conn) {
		go func() {
			time.Sleep(time.Second)
			_ = connection.PgConn().CancelRequest(ctx)
		}()
		isCancelled(func() error { _, err := connection.Exec(ctx, endless); return err })
		must(one[int](connection, "select 1") == 1, "the session does not go on")
	})
}

func connections() {
	check("a context that ends closes the connection and its statement", func() {
		connection := connect(pgx.QueryExecModeCacheStatement, "")
		ending, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		_, err := connection.Exec(ending, endless)
		must(errors.Is(err, context.DeadlineExceeded), "%v", err)
		must(connection.IsClosed(), "the connection is open")
	})
	check("statement_timeout in the settings of the connection", func() {
		connection := connect(pgx.QueryExecModeCacheStatement, "statement_timeout=1000")
		defer connection.Close(ctx)
		isCancelled(func() error { _, err := connection.Exec(ctx, endless); return err })
	})
	with("COPY TO STDOUT: text, csv, binary", pgx.QueryExecModeCacheStatement, func(connection *pgx.Conn) {
		jobs := one[int64](connection, "select count(*) from jobs")
		for options, size := range map[string]int{"": 0, "(format csv, header)": 1, "(format binary)": -1} {
			var out strings.Builder
			tag, err := connection.PgConn().CopyTo(ctx, &out, "copy (select job_id from jobs) to stdout "+options)
			try(err)
			must(tag.RowsAffected() == jobs, "%s", tag)
			if size >= 0 {
				must(int64(strings.Count(out.String(), "\n")) == jobs+int64(size), "%s: %d bytes", options, out.Len())
			} else {
				must(int64(out.Len()) == 19+10*jobs+2, "%d bytes", out.Len())
			}
		}
		_, err := connection.CopyFrom(ctx, pgx.Identifier{"jobs"}, []string{"job_id"}, pgx.CopyFromRows([][]any{{int32(1)}}))
		failsWith("25006", err)
	})
	with("a cursor of SQL in a transaction", pgx.QueryExecModeCacheStatement, func(connection *pgx.Conn) {
		tx, err := connection.Begin(ctx)
		try(err)
		_, err = tx.Exec(ctx, "declare c no scroll cursor for "+many)
		try(err)
		for round := range int32(3) {
			rows, err := tx.Query(ctx, "fetch 10 from c")
			try(err)
			numbers, err := pgx.CollectRows(rows, pgx.RowTo[int32])
			try(err)
			must(len(numbers) == 10 && numbers[0] == round*10+1, "%v", numbers)
		}
		_, err = tx.Exec(ctx, "close c")
		try(err)
		try(tx.Commit(ctx))
	})
	with("types are loaded from the catalog", pgx.QueryExecModeCacheStatement, func(connection *pgx.Conn) {
		loaded, err := connection.LoadType(ctx, "_timestamptz")
		try(err)
		must(loaded.OID == 1185, "%v", loaded)
		types, err := connection.LoadTypes(ctx, []string{"_int4", "_text"})
		try(err)
		must(len(types) >= 2, "%v", types)
	})
	with("named arguments, structs by name", pgx.QueryExecModeCacheStatement, func(connection *pgx.Conn) {
		type job struct {
			AppID  string
			JobID  int32
			Stages []int32 `db:"stage_ids"`
		}
		rows, err := connection.Query(ctx, "select app_id, job_id, stage_ids from jobs where job_id = @id order by 1, 2", pgx.NamedArgs{"id": 0})
		try(err)
		jobs, err := pgx.CollectRows(rows, pgx.RowToStructByName[job])
		try(err)
		must(len(jobs) > 0 && jobs[0].JobID == 0 && len(jobs[0].Stages) > 0, "%v", jobs)
	})
}
