package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// table is a table of docs/schema.md, the statement that reads it, and the rows that there are.
type table struct {
	Schema, Name string
	Columns      []struct{ Name, Type string }
	SQL          string
	Rows         string
	rows         [][]any
}

func readTables() []table {
	file, err := os.ReadFile(os.Getenv("CHECK_TABLES"))
	try(err)
	var tables []table
	try(json.Unmarshal(file, &tables))
	for at := range tables {
		lines, err := os.ReadFile(tables[at].Rows)
		try(err)
		scanner := bufio.NewScanner(bytes.NewReader(lines))
		scanner.Buffer(nil, 64<<20)
		for scanner.Scan() {
			tables[at].rows = append(tables[at].rows, orderedValues(scanner.Bytes()))
		}
		try(scanner.Err())
	}
	return tables
}

// orderedValues gives the values of an object in their order, numbers as they are written.
func orderedValues(line []byte) []any {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	_, err := decoder.Token()
	try(err)
	var values []any
	for decoder.More() {
		_, err := decoder.Token()
		try(err)
		var value any
		try(decoder.Decode(&value))
		values = append(values, value)
	}
	return values
}

// same: whether a value is of the type of Go that pgx gives for the column's type, and is what JSON shows.
func same(seen, wanted any, ty string) bool {
	if seen == nil || wanted == nil {
		return seen == nil && wanted == nil
	}
	if item, is := strings.CutSuffix(ty, "[]"); is {
		a, isList := seen.([]any)
		b, wantedList := wanted.([]any)
		if !isList || !wantedList || len(a) != len(b) {
			return false
		}
		for at := range a {
			if !same(a[at], b[at], item) {
				return false
			}
		}
		return true
	}
	switch value := seen.(type) {
	case bool:
		return ty == "boolean" && value == wanted
	case string:
		return ty == "text" && value == wanted
	case int32:
		return ty == "integer" && fmt.Sprint(value) == fmt.Sprint(wanted)
	case int64:
		return ty == "bigint" && fmt.Sprint(value) == fmt.Sprint(wanted)
	case float64:
		number, err := wanted.(json.Number).Float64()
		return ty == "double precision" && err == nil && value == number
	case time.Time:
		moment, err := time.Parse(time.RFC3339Nano, wanted.(string))
		return ty == "timestamp with time zone" && err == nil && value.Equal(moment)
	default:
		return ty == "jsonb" && sameJSON(seen, wanted)
	}
}

func sameJSON(seen, wanted any) bool {
	switch value := wanted.(type) {
	case json.Number:
		number, err := value.Float64()
		return err == nil && seen == number
	case []any:
		list, is := seen.([]any)
		if !is || len(list) != len(value) {
			return false
		}
		for at := range list {
			if !sameJSON(list[at], value[at]) {
				return false
			}
		}
		return true
	case map[string]any:
		object, is := seen.(map[string]any)
		if !is || len(object) != len(value) {
			return false
		}
		for name := range value {
			if field, is := object[name]; !is || !sameJSON(field, value[name]) {
				return false
			}
		}
		return true
	default:
		return seen == wanted
	}
}

func values(name string, mode pgx.QueryExecMode, tables []table) {
	for _, table := range tables {
		with(name+": every value of "+table.Schema+"."+table.Name, mode, func(connection *pgx.Conn) {
			rows, err := connection.Query(ctx, table.SQL)
			try(err)
			defer rows.Close()
			at := 0
			for ; rows.Next(); at++ {
				must(at < len(table.rows), "more than %d rows", at)
				row, err := rows.Values()
				try(err)
				for i, column := range table.Columns {
					must(same(row[i], table.rows[at][i], column.Type), "row %d, %s: %#v and not %#v", at, column.Name, row[i], table.rows[at][i])
				}
			}
			try(rows.Err())
			must(at == len(table.rows), "%d rows and not %d", at, len(table.rows))
		})
	}
}

func parameters(name string, mode pgx.QueryExecMode) {
	moment := time.Date(2026, 11, 21, 6, 30, 0, 123456000, time.UTC)
	number, _ := new(big.Int).SetString("-123456789012345678900123456789", 10)
	document := map[string]any{"a": []any{1.0, 2.5, nil, "ü"}, "b": map[string]any{}}
	for _, parameter := range []struct {
		ty    string
		value any
	}{
		{"bool", true},
		{"int2", int16(-32767)},
		{"int4", int32(math.MaxInt32)},
		{"int8", int64(math.MinInt64 + 1)},
		{"float4", float32(1.5)},
		{"float8", -1e300},
		{"numeric", pgtype.Numeric{Int: number, Exp: -10, Valid: true}},
		{"text", "quote ' backslash \\ tab \t ünï 🎉"},
		{"varchar", "v"},
		{"bytea", []byte{0, 255, '\'', '\\'}},
		{"date", time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)},
		{"time", pgtype.Time{Microseconds: 86399999999, Valid: true}},
		{"timestamp", time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC)},
		{"timestamptz", moment},
		{"interval", pgtype.Interval{Microseconds: 10800000004, Days: 2, Valid: true}},
		{"uuid", pgtype.UUID{Bytes: [16]byte{1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}, Valid: true}},
		{"bool[]", []bool{true, false}},
		{"int4[]", []int32{1, 2, -3}},
		{"int8[]", []int64{}},
		{"float8[]", []float64{0.5, -1e300}},
		{"text[]", []string{"a,b", "quote\"", "\\", "", "null"}},
		{"timestamptz[]", []time.Time{moment}},
		{"json", document},
		{"jsonb", document},
	} {
		with(name+": parameters of "+parameter.ty, mode, func(connection *pgx.Conn) {
			for range 3 {
				seen := reflect.New(reflect.TypeOf(parameter.value))
				sent := parameter.value
				if _, is := sent.(map[string]any); is && (mode == pgx.QueryExecModeExec || mode == pgx.QueryExecModeSimpleProtocol) {
					// These modes do not ask the server for types, so pgx cannot know that a map is JSON.
					text, err := json.Marshal(sent)
					try(err)
					sent = string(text)
				}
				try(connection.QueryRow(ctx, "select $1::"+parameter.ty, sent).Scan(seen.Interface()))
				value := seen.Elem().Interface()
				if at, is := value.(time.Time); is {
					must(at.Equal(parameter.value.(time.Time)), "%v", value)
				} else if times, is := value.([]time.Time); is {
					must(len(times) == 1 && times[0].Equal(moment), "%v", value)
				} else if numeric, is := value.(pgtype.Numeric); is {
					must(numeric.Int.Cmp(number) == 0 && numeric.Exp == -10, "%v", value)
				} else {
					must(reflect.DeepEqual(value, parameter.value), "%#v", value)
				}
			}
			var nothing any
			try(connection.QueryRow(ctx, "select $1::"+parameter.ty, nil).Scan(&nothing))
			must(nothing == nil, "null is %v", nothing)
		})
	}
	with(name+": the server finds the types of parameters", mode, func(connection *pgx.Conn) {
		known := one[int64](connection, "select count(*) from applications where duration_ms > 5 and completed")
		sql := "select count(*) from applications where duration_ms > $1 and start_time >= $2 and not (app_id = any($3)) and completed = $4"
		seen := one[int64](connection, sql, int64(5), time.Unix(0, 0), []string{"a", "b"}, true)
		must(known > 0 && seen == known, "%d and not %d", seen, known)
	})
}
