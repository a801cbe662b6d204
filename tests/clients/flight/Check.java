import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.TimeZone;

/**
 * Flight SQL with Arrow's JDBC driver: {@code java Check NAME URL [KEY=VALUE ...]}, where the pairs are properties of the connection. Prints
 * {@code ok}, or ends with what is not as it should be.
 */
public final class Check {
    interface Work {
        void run() throws Exception;
    }

    static void same(Object found, Object expected, String what) {
        if (!String.valueOf(found).equals(String.valueOf(expected))) {
            throw new AssertionError(what + ": " + found + " is not " + expected);
        }
    }

    static void fails(Work work, String... parts) {
        try {
            work.run();
        } catch (Exception error) {
            StringBuilder text = new StringBuilder();
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                text.append(cause.getMessage()).append('\n');
            }
            for (String part : parts) {
                if (text.indexOf(part) < 0) {
                    throw new AssertionError(part + " is not in " + text);
                }
            }
            return;
        }
        throw new AssertionError("nothing was thrown, expected " + Arrays.toString(parts));
    }

    /** All rows, cells with commas between. */
    static List<String> rows(ResultSet results) throws SQLException {
        List<String> rows = new ArrayList<>();
        int columns = results.getMetaData().getColumnCount();
        while (results.next()) {
            StringBuilder row = new StringBuilder();
            for (int column = 1; column <= columns; column++) {
                row.append(column > 1 ? "," : "").append(results.getString(column));
            }
            rows.add(row.toString());
        }
        results.close();
        return rows;
    }

    static List<String> query(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return rows(statement.executeQuery(sql));
        }
    }

    static List<String> column(ResultSet results, String name) throws SQLException {
        List<String> cells = new ArrayList<>();
        while (results.next()) {
            cells.add(results.getString(name));
        }
        results.close();
        return cells;
    }

    static void metadata(Connection connection) throws Exception {
        DatabaseMetaData about = connection.getMetaData();
        same(about.getDatabaseProductName(), "Sparkgate", "product");
        same(about.isReadOnly(), true, "isReadOnly");
        same(about.supportsTransactions(), false, "supportsTransactions");
        same(about.getIdentifierQuoteString(), "\"", "quote");
        // Not nullsAreSortedHigh and storesLowerCaseIdentifiers: this driver takes the ordinals of GetSqlInfo for bits.
        same(about.supportsFullOuterJoins(), true, "supportsFullOuterJoins");
        same(about.supportsUnionAll(), true, "supportsUnionAll");
        same(about.supportsBatchUpdates(), false, "supportsBatchUpdates");
        same(about.getSQLKeywords().isEmpty(), false, "keywords");
        // Every question without arguments has an answer.
        for (java.lang.reflect.Method method : DatabaseMetaData.class.getMethods()) {
            boolean isPlain = method.getReturnType() == boolean.class || method.getReturnType() == int.class
                || method.getReturnType() == String.class;
            if (method.getParameterCount() == 0 && isPlain) {
                try {
                    method.invoke(about);
                } catch (java.lang.reflect.InvocationTargetException error) {
                    boolean isUnknownToDriver = error.getCause() instanceof UnsupportedOperationException
                        || error.getCause() instanceof java.sql.SQLFeatureNotSupportedException;
                    if (!isUnknownToDriver) {
                        throw new AssertionError(method.getName(), error.getCause());
                    }
                }
            }
        }
        same(column(about.getCatalogs(), "TABLE_CAT"), "[spark]", "catalogs");
        same(column(about.getSchemas(), "TABLE_SCHEM"), "[advice, information_schema, pg_catalog, public, rollup, system]", "schemas");
        same(column(about.getSchemas(null, "p%"), "TABLE_SCHEM"), "[pg_catalog, public]", "schemas like p%");
        same(column(about.getTableTypes(), "TABLE_TYPE"), "[SYSTEM TABLE, SYSTEM VIEW, TABLE, VIEW]", "table types");
        List<String> tables = column(about.getTables("spark", "public", "%", new String[] {"TABLE"}), "TABLE_NAME");
        String known = "select table_name from information_schema.tables where table_schema = 'public' order by 1";
        same(tables, query(connection, known), "tables");
        same(column(about.getTables(null, "advice", "failed%", null), "TABLE_NAME"), "[failed_work]", "views");
        same(column(about.getTables(null, null, "no such", null), "TABLE_NAME"), "[]", "no tables");
        List<String> columns = column(about.getColumns(null, "public", "tasks", "%"), "COLUMN_NAME");
        String of = "select column_name from information_schema.columns where table_schema = 'public' and table_name = 'tasks' order by ordinal_position";
        same(columns, query(connection, of), "columns");
        ResultSet one = about.getColumns(null, "public", "tasks", "launch_time");
        same(one.next(), true, "the column launch_time");
        same(one.getString("TYPE_NAME"), "timestamp with time zone", "its type");
        same(one.getString("IS_AUTOINCREMENT"), "NO", "IS_AUTOINCREMENT");
        one.close();
        ResultSet text = about.getColumns(null, "public", "tasks", "app_id");
        same(text.next() && text.getInt("DATA_TYPE") == Types.VARCHAR, true, "app_id is VARCHAR");
        same(text.getInt("NULLABLE"), DatabaseMetaData.columnNoNulls, "app_id is not null");
        text.close();
        same(rows(about.getPrimaryKeys(null, "public", "tasks")), "[]", "primary keys");
        same(rows(about.getImportedKeys(null, "public", "tasks")), "[]", "imported keys");
        same(rows(about.getExportedKeys(null, "public", "tasks")), "[]", "exported keys");
        same(rows(about.getCrossReference(null, "public", "jobs", null, "public", "tasks")), "[]", "cross reference");
        rows(about.getTypeInfo());
    }

    static void statements(Connection connection) throws Exception {
        same(query(connection, "select 1, 'x', null::int, true, 1.5::float8"), "[1,x,null,true,1.5]", "literals");
        try (Statement statement = connection.createStatement()) {
            ResultSet results = statement.executeQuery("select job_id, submission_time, status, stage_ids, failure_reason from jobs order by app_id, job_id");
            ResultSetMetaData about = results.getMetaData();
            same(about.getColumnCount(), 5, "columns");
            same(about.getColumnName(2), "submission_time", "name");
            same(about.getColumnType(1), Types.INTEGER, "type of job_id");
            int count = 0;
            while (results.next()) {
                count++;
                Object ids = results.getArray(4) == null ? null : results.getArray(4).getArray();
                same(ids == null || ids.getClass().isArray(), true, "stage_ids is an array");
            }
            same(List.of(Integer.toString(count)), query(connection, "select count(*) from jobs"), "count of jobs");
            statement.setMaxRows(2);
            same(rows(statement.executeQuery("select task_id from tasks")).size(), 2, "setMaxRows");
        }
        // Every column of every table can be read.
        for (String name : query(connection, "select table_schema || '.' || table_name from information_schema.tables where table_schema = 'public'")) {
            rows(connection.createStatement().executeQuery("select * from " + name + " limit 20"));
        }
        fails(() -> query(connection, "select nothing from tasks"), "nothing", "42703");
        fails(() -> query(connection, "selec 1"), "syntax error", "42601");
        fails(() -> connection.createStatement().executeUpdate("delete from tasks"), "cannot execute DELETE in a read-only transaction");
        fails(() -> connection.createStatement().execute("create table t (a int)"), "cannot execute CREATE TABLE");
        same(query(connection, "select 1"), "[1]", "after errors");
        same(connection.isValid(5), true, "isValid");
    }

    static void parameters(Connection connection) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement(
                "select job_id from jobs where job_id < ? and status = ? order by app_id, job_id limit 3")) {
            for (int limit = 1; limit < 3; limit++) {
                statement.setInt(1, limit);
                statement.setString(2, "SUCCEEDED");
                String literal = "select job_id from jobs where job_id < " + limit + " and status = 'SUCCEEDED' order by app_id, job_id limit 3";
                same(rows(statement.executeQuery()), query(connection, literal), "parameters");
            }
            same(statement.getMetaData().getColumnName(1), "job_id", "metadata before execution");
            same(statement.getParameterMetaData().getParameterCount(), 2, "parameter count");
        }
        try (PreparedStatement statement = connection.prepareStatement("select ?::bigint, ?::float8, ?::text, ?::boolean, ?::int")) {
            statement.setLong(1, 1L << 40);
            statement.setDouble(2, 2.5);
            statement.setString(3, "text with ? and 'quotes' and äöü");
            statement.setBoolean(4, true);
            statement.setNull(5, Types.INTEGER);
            same(rows(statement.executeQuery()), "[1099511627776,2.5,text with ? and 'quotes' and äöü,true,null]", "types");
        }
        try (PreparedStatement statement = connection.prepareStatement("select * from jobs where job_id = ?")) {
            fails(statement::executeQuery, "");
        }
    }

    /**
     * Instants are instants and nulls are nulls, as values and as parameters. Only in UTC: elsewhere getTimestamp of driver 18.3.0 moves instants
     * of a column with a zone by the machine's offset twice.
     */
    static void times(String url, Properties properties) throws Exception {
        Instant expected = Instant.parse("2026-11-21T06:30:15.123456Z");
        String sql = "select timestamptz '2026-11-21T06:30:15.123456Z' as at, null::timestamptz as nothing, date '2026-11-21' as day";
        for (String zone : new String[] {"UTC"}) {
            TimeZone.setDefault(TimeZone.getTimeZone(zone));
            // The driver takes the machine's zone when it connects.
            Connection connection = DriverManager.getConnection(url, properties);
            ResultSet results = connection.createStatement().executeQuery(sql);
            same(results.next(), true, "a row");
            // The driver has milliseconds where an instant goes through java.sql.Timestamp's old constructor.
            same(results.getTimestamp(1).toInstant().toEpochMilli(), expected.toEpochMilli(), "getTimestamp in " + zone);
            // Not with a calendar: this driver then moves instants by the calendar's offset, whatever zone the column has.
            same(results.getTimestamp(2), null, "null");
            same(results.wasNull(), true, "wasNull");
            same(results.getDate(3).toLocalDate(), "2026-11-21", "date in " + zone);
            results.close();
            try (PreparedStatement statement = connection.prepareStatement("select count(*) from jobs where submission_time >= ?")) {
                statement.setTimestamp(1, Timestamp.from(expected));
                same(rows(statement.executeQuery()), query(connection, "select count(*) from jobs where submission_time >= '2026-11-21T06:30:15.123456Z'"),
                    "a parameter in " + zone);
            }
            connection.close();
        }
        TimeZone.setDefault(TimeZone.getTimeZone("UTC"));
    }

    static void user(Connection connection) throws Exception {
        same(query(connection, "select current_user"), "[alice]", "current_user");
    }

    public static void main(String[] arguments) throws Exception {
        String name = arguments[0];
        Properties properties = new Properties();
        for (String pair : Arrays.asList(arguments).subList(2, arguments.length)) {
            String[] parts = pair.split("=", 2);
            properties.put(parts[0], parts[1]);
        }
        if (name.equals("refused")) {
            fails(() -> DriverManager.getConnection(arguments[1], properties).createStatement().executeQuery("select 1"), "28P01");
        } else {
            try (Connection connection = DriverManager.getConnection(arguments[1], properties)) {
                for (String one : name.split(",")) {
                    switch (one) {
                        case "metadata": metadata(connection); break;
                        case "statements": statements(connection); break;
                        case "parameters": parameters(connection); break;
                        case "times": times(arguments[1], properties); break;
                        case "user": user(connection); break;
                        default: throw new AssertionError("no check " + one);
                    }
                }
            }
        }
        System.out.println("ok");
        // The driver leaves threads behind.
        System.exit(0);
    }
}
