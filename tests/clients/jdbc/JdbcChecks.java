import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.ByteArrayOutputStream;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Time;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;

/** pgjdbc: its metadata, both forms of transfer, cursors, time-outs. tests/it/clients.rs says in CHECK_… where the server is. */
public class JdbcChecks {
  static final String MANY = "select * from generate_series(1, 1000000) as g(v)";
  static final String ENDLESS = "select sum(v) from generate_series(1, 100000000000) as g(v)";
  static int passed, failed;

  interface Body {
    void run() throws Exception;
  }

  interface WithConnection {
    void run(Connection connection) throws Exception;
  }

  static void check(String name, Body body) {
    try {
      body.run();
      passed++;
      System.out.println("ok   " + name);
    } catch (Throwable problem) {
      failed++;
      String text = problem.toString().replaceAll("\\s+", " ");
      String at = Arrays.stream(problem.getStackTrace()).filter(frame -> frame.getClassName().startsWith("JdbcChecks")).findFirst()
          .map(frame -> " (line " + frame.getLineNumber() + ")").orElse("");
      System.out.println("FAIL " + name + ": " + text.substring(0, Math.min(2000, text.length())) + at);
    }
  }

  /** A check that is given a connection; options are pairs of a name and a value. */
  static void check(String name, WithConnection body, String... options) {
    check(name, () -> {
      try (Connection connection = connect(options)) {
        body.run(connection);
      }
    });
  }

  static Connection connect(String... options) throws SQLException {
    Properties properties = new Properties();
    properties.put("user", "postgres");
    properties.put("connectTimeout", "10");
    properties.put("socketTimeout", "120");
    for (int i = 0; i < options.length; i += 2) {
      properties.put(options[i], options[i + 1]);
    }
    String url = "jdbc:postgresql://" + System.getenv("CHECK_HOST") + ":" + System.getenv("CHECK_PORT") + "/spark";
    return DriverManager.getConnection(url, properties);
  }

  static void must(boolean holds, Object otherwise) {
    if (!holds) {
      throw new AssertionError(String.valueOf(otherwise));
    }
  }

  static void equal(Object seen, Object wanted) {
    must(Objects.deepEquals(seen, wanted), seen + " and not " + wanted);
  }

  static SQLException fails(Body body) throws Exception {
    try {
      body.run();
    } catch (SQLException error) {
      return error;
    }
    throw new AssertionError("no error");
  }

  static void failsWith(String state, Body body) throws Exception {
    SQLException error = fails(body);
    must(state.equals(error.getSQLState()), error.getSQLState() + ": " + error.getMessage());
  }

  /** A statement without end has to end soon after it was cancelled, and not before. */
  static void isCancelled(Body body) throws Exception {
    long begin = System.nanoTime();
    failsWith("57014", body);
    double took = (System.nanoTime() - begin) / 1e9;
    must(took > 0.5 && took < 30, "it took " + took + " s");
  }

  static List<String> column(ResultSet rows, String name) throws SQLException {
    List<String> values = new ArrayList<>();
    while (rows.next()) {
      values.add(rows.getString(name));
    }
    return values;
  }

  static List<Object> all(Connection connection, String sql) throws SQLException {
    List<Object> values = new ArrayList<>();
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      while (rows.next()) {
        values.add(rows.getObject(1));
      }
    }
    return values;
  }

  static Object one(Connection connection, String sql) throws SQLException {
    return all(connection, sql).get(0);
  }

  /** A table of docs/schema.md, the statement that reads it, and the rows that there are. */
  static class Table {
    String schema;
    String name;
    boolean isView;
    String sql;
    List<JsonObject> columns = new ArrayList<>();
    List<List<JsonElement>> rows = new ArrayList<>();

    Table(JsonObject table) throws Exception {
      schema = table.get("schema").getAsString();
      name = table.get("name").getAsString();
      isView = table.get("is_view").getAsBoolean();
      sql = table.get("sql").getAsString();
      table.getAsJsonArray("columns").forEach(column -> columns.add(column.getAsJsonObject()));
      for (String line : Files.readAllLines(Path.of(table.get("rows").getAsString()))) {
        List<JsonElement> row = new ArrayList<>();
        JsonParser.parseString(line).getAsJsonObject().entrySet().forEach(entry -> row.add(entry.getValue()));
        rows.add(row);
      }
    }

    String fullName() {
      return schema + "." + name;
    }

    String column(int at, String field) {
      JsonElement value = columns.get(at).get(field);
      return value.isJsonNull() ? null : value.getAsString();
    }
  }

  static final Map<String, Integer> JDBC_TYPES = Map.of("boolean", Types.BIT, "integer", Types.INTEGER, "bigint", Types.BIGINT,
      "double precision", Types.DOUBLE, "text", Types.VARCHAR, "jsonb", Types.OTHER, "timestamp with time zone", Types.TIMESTAMP);
  static final Map<String, String> TYPE_NAMES = Map.of("boolean", "bool", "integer", "int4", "bigint", "int8", "double precision", "float8",
      "timestamp with time zone", "timestamptz", "integer[]", "_int4", "bigint[]", "_int8", "double precision[]", "_float8", "text[]", "_text");

  static int jdbcType(String type) {
    return type.endsWith("[]") ? Types.ARRAY : JDBC_TYPES.get(type);
  }

  static String typeName(String type) {
    return TYPE_NAMES.getOrDefault(type, type);
  }

  /** The value in the class of Java that its column's type has, as JSON shows it. */
  static boolean same(Object seen, JsonElement wanted) {
    if (wanted.isJsonNull() || seen == null) {
      return wanted.isJsonNull() && seen == null;
    }
    if (seen instanceof Object[] items) {
      JsonArray list = wanted.getAsJsonArray();
      for (int i = 0; i < items.length; i++) {
        if (i >= list.size() || !same(items[i], list.get(i))) {
          return false;
        }
      }
      return items.length == list.size();
    }
    if (seen instanceof OffsetDateTime moment) {
      return moment.toInstant().equals(Instant.parse(wanted.getAsString()));
    }
    if (seen instanceof PGobject object) {
      return object.getType().equals("jsonb") && sameJson(JsonParser.parseString(object.getValue()), wanted);
    }
    if (seen instanceof Boolean truth) {
      return wanted.getAsJsonPrimitive().isBoolean() && truth == wanted.getAsBoolean();
    }
    if (seen instanceof Double number) {
      return wanted.getAsJsonPrimitive().isNumber() && number == wanted.getAsDouble();
    }
    if (seen instanceof Integer || seen instanceof Long) {
      return wanted.getAsJsonPrimitive().isNumber() && new BigDecimal(seen.toString()).compareTo(wanted.getAsBigDecimal()) == 0;
    }
    return seen instanceof String text && wanted.getAsJsonPrimitive().isString() && text.equals(wanted.getAsString());
  }

  static boolean sameJson(JsonElement seen, JsonElement wanted) {
    if (seen.isJsonObject() && wanted.isJsonObject()) {
      JsonObject a = seen.getAsJsonObject();
      JsonObject b = wanted.getAsJsonObject();
      return a.keySet().equals(b.keySet()) && a.keySet().stream().allMatch(key -> sameJson(a.get(key), b.get(key)));
    }
    if (seen.isJsonArray() && wanted.isJsonArray()) {
      JsonArray a = seen.getAsJsonArray();
      JsonArray b = wanted.getAsJsonArray();
      boolean same = a.size() == b.size();
      for (int i = 0; same && i < a.size(); i++) {
        same = sameJson(a.get(i), b.get(i));
      }
      return same;
    }
    if (seen.isJsonPrimitive() && wanted.isJsonPrimitive() && seen.getAsJsonPrimitive().isNumber() && wanted.getAsJsonPrimitive().isNumber()) {
      return seen.getAsDouble() == wanted.getAsDouble();
    }
    return seen.equals(wanted);
  }

  static int assertRows(Table table, ResultSet rows) throws SQLException {
    int at = 0;
    for (; rows.next(); at++) {
      must(at < table.rows.size(), "more than " + table.rows.size() + " rows");
      for (int i = 0; i < table.columns.size(); i++) {
        String type = table.column(i, "type");
        Object seen = type.equals("timestamp with time zone") ? rows.getObject(i + 1, OffsetDateTime.class) : rows.getObject(i + 1);
        if (seen instanceof Array array) {
          seen = array.getArray();
        }
        JsonElement wanted = table.rows.get(at).get(i);
        must(same(seen, wanted), "row " + at + ", " + table.column(i, "name") + ": " + seen + " and not " + wanted);
      }
    }
    return at;
  }

  /** A value, how it is set as a parameter, and how it is read again. */
  static void echo(String type, Object value, Class<?> as) throws Exception {
    for (String mode : List.of("extended", "simple")) {
      try (Connection connection = connect("prepareThreshold", "2", "preferQueryMode", mode);
          PreparedStatement statement = connection.prepareStatement("select ?::" + type)) {
        // The third run prepares a statement and takes its answer in binary.
        for (int run = 0; run < 4; run++) {
          Object sent = value instanceof Object[] items ? connection.createArrayOf(type.substring(0, type.length() - 2), items) : value;
          statement.setObject(1, sent);
          try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            Object seen = value instanceof Object[] ? rows.getArray(1).getArray() : rows.getObject(1, as);
            boolean same = seen instanceof BigDecimal number ? number.compareTo((BigDecimal) value) == 0 : Objects.deepEquals(seen, value);
            must(same, mode + ", run " + run + ": " + seen + " and not " + value);
          }
          statement.setObject(1, null);
          try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            must(rows.getObject(1) == null && rows.wasNull(), "null of " + type);
          }
        }
      }
    }
  }

  public static void main(String[] arguments) throws Exception {
    List<Table> tables = new ArrayList<>();
    for (JsonElement table : JsonParser.parseString(Files.readString(Path.of(System.getenv("CHECK_TABLES")))).getAsJsonArray()) {
      tables.add(new Table(table.getAsJsonObject()));
    }
    logIn();
    for (Table table : tables) {
      rowsOf(table);
      metadataOf(table);
    }
    metadata(tables);
    parameters();
    statements();
    transactions();
    cancellation();
    copies();
    System.out.println(passed + " passed, " + failed + " failed");
    System.exit(passed > 0 && failed == 0 ? 0 : 1);
  }

  static void logIn() {
    String user = System.getenv("CHECK_USER");
    String password = System.getenv("CHECK_PASSWORD");
    String ca = System.getenv("CHECK_CA");
    for (String binding : List.of("prefer", "require")) {
      check("log-in with SCRAM over TLS that is verified, channel binding: " + binding,
          connection -> equal(one(connection, "select current_user"), user),
          "user", user, "password", password, "sslmode", "verify-full", "sslrootcert", ca, "channelBinding", binding);
    }
    check("a wrong password is 28P01, and none works without TLS", () -> {
      failsWith("28P01", () -> connect("user", user, "password", "wrong", "sslmode", "require"));
      failsWith("28000", () -> connect("user", user, "password", password, "sslmode", "disable"));
    });
    check("isValid, the version, the name of the application", connection -> {
      must(connection.isValid(5), "not valid");
      must(connection.getMetaData().getDatabaseMajorVersion() >= 15, connection.getMetaData().getDatabaseProductVersion());
      equal(connection.getMetaData().getDatabaseProductName(), "PostgreSQL");
      equal(one(connection, "show application_name"), "checks");
      equal(connection.getSchema(), "advice");
      equal(connection.isReadOnly(), true);
    }, "ApplicationName", "checks", "currentSchema", "advice", "readOnly", "true");
  }

  static void rowsOf(Table table) {
    check("text and binary: every value of " + table.fullName(), connection -> {
      try (PreparedStatement statement = connection.prepareStatement(table.sql)) {
        // The first answer comes as text; from the second on the statement is prepared and answers come in binary.
        for (int run = 0; run < 3; run++) {
          try (ResultSet rows = statement.executeQuery()) {
            equal(assertRows(table, rows), table.rows.size());
          }
        }
      }
    }, "prepareThreshold", "2");
  }

  static void metadataOf(Table table) {
    check("getColumns of " + table.fullName(), connection -> {
      int at = 0;
      try (ResultSet rows = connection.getMetaData().getColumns(null, table.schema, table.name, "%")) {
        for (; rows.next(); at++) {
          equal(rows.getString("COLUMN_NAME"), table.column(at, "name"));
          equal(rows.getInt("ORDINAL_POSITION"), at + 1);
          equal(rows.getString("TYPE_NAME"), typeName(table.column(at, "type")));
          equal(rows.getInt("DATA_TYPE"), jdbcType(table.column(at, "type")));
          must(String.valueOf(rows.getString("REMARKS")).contains(table.column(at, "comment")), rows.getString("REMARKS"));
          if (!table.isView) {
            equal(rows.getString("IS_NULLABLE"), table.columns.get(at).get("nullable").getAsBoolean() ? "YES" : "NO");
          }
        }
      }
      equal(at, table.columns.size());
    });
    check("ResultSetMetaData of " + table.fullName(), connection -> {
      try (Statement statement = connection.createStatement();
          ResultSet rows = statement.executeQuery("select * from " + table.fullName() + " limit 0")) {
        ResultSetMetaData metadata = rows.getMetaData();
        equal(metadata.getColumnCount(), table.columns.size());
        for (int i = 0; i < table.columns.size(); i++) {
          equal(metadata.getColumnLabel(i + 1), table.column(i, "name"));
          equal(metadata.getColumnTypeName(i + 1), typeName(table.column(i, "type")));
          equal(metadata.getColumnType(i + 1), jdbcType(table.column(i, "type")));
          must(metadata.getPrecision(i + 1) >= 0 && metadata.getColumnDisplaySize(i + 1) > 0, "size of " + table.column(i, "name"));
        }
      }
    });
  }

  static void metadata(List<Table> tables) {
    check("getTables: tables and views with their comments", connection -> {
      for (boolean isView : List.of(false, true)) {
        Set<String> wanted = new TreeSet<>();
        tables.stream().filter(table -> table.isView == isView).forEach(table -> wanted.add(table.fullName()));
        Set<String> seen = new TreeSet<>();
        String[] kinds = {isView ? "VIEW" : "TABLE"};
        try (ResultSet rows = connection.getMetaData().getTables(null, null, "%", kinds)) {
          while (rows.next()) {
            equal(rows.getString("TABLE_CAT"), "spark");
            seen.add(rows.getString("TABLE_SCHEM") + "." + rows.getString("TABLE_NAME"));
            must(String.valueOf(rows.getString("REMARKS")).startsWith("one row per "), rows.getString("REMARKS"));
          }
        }
        equal(seen, wanted);
      }
    });
    check("getTables of all kinds, and by pattern", connection -> {
      List<String> everything = column(connection.getMetaData().getTables(null, null, null, null), "TABLE_NAME");
      must(everything.contains("jobs") && everything.contains("pg_class"), everything);
      equal(column(connection.getMetaData().getTables("spark", "public", "rdd\\_p%", null), "TABLE_NAME"), List.of("rdd_partitions"));
    });
    check("getColumns of all tables at once", connection -> {
      Set<String> seen = new HashSet<>();
      try (ResultSet rows = connection.getMetaData().getColumns(null, "%", "%", "app\\_id")) {
        while (rows.next()) {
          seen.add(rows.getString("TABLE_SCHEM") + "." + rows.getString("TABLE_NAME"));
        }
      }
      for (Table table : tables) {
        equal(seen.contains(table.fullName()), table.columns.stream().anyMatch(column -> column.get("name").getAsString().equals("app_id")));
      }
    });
    check("getSchemas, getCatalogs, getTableTypes", connection -> {
      List<String> schemas = column(connection.getMetaData().getSchemas(), "TABLE_SCHEM");
      equal(new TreeSet<>(schemas), new TreeSet<>(List.of("advice", "information_schema", "pg_catalog", "public", "rollup", "system")));
      equal(column(connection.getMetaData().getSchemas("spark", "r%"), "TABLE_SCHEM"), List.of("rollup"));
      equal(column(connection.getMetaData().getCatalogs(), "TABLE_CAT"), List.of("spark"));
      must(column(connection.getMetaData().getTableTypes(), "TABLE_TYPE").contains("VIEW"), "no views");
    });
    for (Table table : List.of(tables.get(0), tables.get(2))) {
      check("getPrimaryKeys of " + table.name, connection -> column(connection.getMetaData().getPrimaryKeys(null, table.schema, table.name), "COLUMN_NAME"));
      check("getIndexInfo of " + table.name,
          connection -> column(connection.getMetaData().getIndexInfo(null, table.schema, table.name, false, true), "INDEX_NAME"));
      check("getBestRowIdentifier of " + table.name, connection -> column(
          connection.getMetaData().getBestRowIdentifier(null, table.schema, table.name, DatabaseMetaData.bestRowSession, true), "COLUMN_NAME"));
    }
    check("getImportedKeys, getExportedKeys, getCrossReference: none", connection -> {
      DatabaseMetaData metadata = connection.getMetaData();
      equal(column(metadata.getImportedKeys(null, "public", "jobs"), "FK_NAME"), List.of());
      equal(column(metadata.getExportedKeys(null, "public", "jobs"), "FK_NAME"), List.of());
      equal(column(metadata.getCrossReference(null, "public", "jobs", null, "public", "stages"), "FK_NAME"), List.of());
    });
    check("getTypeInfo", connection -> {
      List<String> types = column(connection.getMetaData().getTypeInfo(), "TYPE_NAME");
      must(types.containsAll(List.of("bool", "int4", "int8", "float8", "text", "timestamptz", "jsonb", "numeric", "date")), types);
    });
    check("getTablePrivileges, getColumnPrivileges", connection -> {
      column(connection.getMetaData().getTablePrivileges(null, "public", "jobs"), "PRIVILEGE");
      column(connection.getMetaData().getColumnPrivileges(null, "public", "jobs", "%"), "PRIVILEGE");
    });
    check("getFunctions, getProcedures, getUDTs", connection -> {
      must(column(connection.getMetaData().getFunctions(null, "pg_catalog", "abs"), "FUNCTION_NAME").contains("abs"), "no abs");
      column(connection.getMetaData().getFunctionColumns(null, "pg_catalog", "abs", "%"), "COLUMN_NAME");
      equal(column(connection.getMetaData().getProcedures(null, "public", "%"), "PROCEDURE_NAME"), List.of());
      equal(column(connection.getMetaData().getUDTs(null, "public", "%", null), "TYPE_NAME"), List.of());
    });
    check("getSQLKeywords", connection -> must(connection.getMetaData().getSQLKeywords().contains("analyze"), "no analyze"));
    check("lengths of names, getClientInfoProperties", connection -> {
      equal(connection.getMetaData().getMaxColumnNameLength(), 63);
      must(column(connection.getMetaData().getClientInfoProperties(), "NAME").contains("ApplicationName"), "no ApplicationName");
    });
  }

  static void parameters() {
    OffsetDateTime moment = OffsetDateTime.of(2026, 11, 21, 6, 30, 0, 123456000, ZoneOffset.UTC);
    check("parameters of bool", () -> echo("bool", true, Boolean.class));
    check("parameters of int2", () -> echo("int2", (short) -7, Short.class));
    check("parameters of int4", () -> echo("int4", Integer.MAX_VALUE, Integer.class));
    check("parameters of int8", () -> echo("int8", Long.MIN_VALUE + 1, Long.class));
    check("parameters of float4", () -> echo("float4", 1.5f, Float.class));
    check("parameters of float8", () -> echo("float8", -1e300, Double.class));
    check("parameters of numeric", () -> echo("numeric", new BigDecimal("-12345678901234567890.0123456789"), BigDecimal.class));
    check("parameters of text", () -> echo("text", "quote ' backslash \\ tab \t ünï 🎉", String.class));
    check("parameters of varchar", () -> echo("varchar", "", String.class));
    check("parameters of bytea", () -> echo("bytea", new byte[] {0, -1, '\'', '\\'}, byte[].class));
    check("parameters of date", () -> echo("date", LocalDate.of(1969, 12, 31), LocalDate.class));
    check("parameters of time", () -> echo("time", LocalTime.of(23, 59, 59, 999999000), LocalTime.class));
    check("parameters of timestamp", () -> echo("timestamp", LocalDateTime.of(1969, 12, 31, 23, 59, 59, 999999000), LocalDateTime.class));
    check("parameters of timestamptz", () -> echo("timestamptz", moment, OffsetDateTime.class));
    check("parameters of interval", () -> echo("interval", new PGInterval(0, 0, 2, 3, 0, 4.5), PGInterval.class));
    check("parameters of uuid", () -> echo("uuid", UUID.fromString("01234567-89ab-cdef-0123-456789abcdef"), UUID.class));
    check("parameters of int4[]", () -> echo("int4[]", new Integer[] {1, null, -3}, null));
    check("parameters of int8[]", () -> echo("int8[]", new Long[] {}, null));
    check("parameters of float8[]", () -> echo("float8[]", new Double[] {0.5, -1e300}, null));
    check("parameters of text[]", () -> echo("text[]", new String[] {"a,b", "quote\"", "\\", null, "", "null"}, null));
    check("parameters of bool[]", () -> echo("bool[]", new Boolean[] {true, false}, null));
    for (String type : List.of("json", "jsonb")) {
      check("parameters of " + type, connection -> {
        PGobject document = new PGobject();
        document.setType(type);
        document.setValue("{\"a\": [1, 2.5, null, \"ü\"], \"b\": {}}");
        try (PreparedStatement statement = connection.prepareStatement("select ?::" + type)) {
          statement.setObject(1, document);
          try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            PGobject seen = (PGobject) rows.getObject(1);
            equal(seen.getType(), type);
            must(sameJson(JsonParser.parseString(seen.getValue()), JsonParser.parseString(document.getValue())), seen.getValue());
          }
        }
      });
    }
    check("parameters that the server finds the type of", connection -> {
      String sql = "select count(*) from applications where start_time >= ? and duration_ms > ? and completed = ? and app_id <> all (?) limit ?";
      long known = (Long) one(connection, "select count(*) from applications where duration_ms > 5 and completed");
      try (PreparedStatement statement = connection.prepareStatement(sql)) {
        for (int run = 0; run < 7; run++) {
          statement.setTimestamp(1, Timestamp.from(Instant.parse("2020-01-01T00:00:00Z")));
          statement.setBigDecimal(2, new BigDecimal("5"));
          statement.setBoolean(3, true);
          statement.setArray(4, connection.createArrayOf("text", new String[] {"a", "b"}));
          statement.setInt(5, 3);
          try (ResultSet rows = statement.executeQuery()) {
            rows.next();
            must(known > 0 && rows.getLong(1) == known, rows.getLong(1));
          }
        }
        ParameterMetaData metadata = statement.getParameterMetaData();
        equal(metadata.getParameterCount(), 5);
        equal(metadata.getParameterTypeName(4), "_text");
      }
    });
    check("setDate, setTime, setString with stringtype=unspecified", connection -> {
      try (PreparedStatement statement = connection.prepareStatement("select ?::date = date '2026-11-21', ?::time = time '12:34:56', count(*) from applications where start_time > ? and duration_ms > ?")) {
        statement.setDate(1, Date.valueOf("2026-11-21"));
        statement.setTime(2, Time.valueOf("12:34:56"));
        statement.setString(3, "2020-01-01T00:00:00Z");
        statement.setString(4, "5");
        try (ResultSet rows = statement.executeQuery()) {
          rows.next();
          must(rows.getBoolean(1) && rows.getBoolean(2) && rows.getLong(3) > 0, rows.getLong(3));
        }
      }
    }, "stringtype", "unspecified");
    check("addBatch: a statement that would write is refused", connection -> {
      try (PreparedStatement statement = connection.prepareStatement("insert into jobs (job_id) values (?)")) {
        for (int id = 0; id < 3; id++) {
          statement.setInt(1, id);
          statement.addBatch();
        }
        SQLException error = fails(statement::executeBatch);
        must(error instanceof BatchUpdateException && "25006".equals(error.getSQLState()), error);
      }
    });
  }

  static void statements() {
    for (int size : List.of(1, 500, 1000)) {
      check("a fetch size of " + size + " reads on where it stopped", connection -> {
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement(MANY)) {
          statement.setFetchSize(size);
          long seen = 0;
          try (ResultSet rows = statement.executeQuery()) {
            while (seen < (size == 1 ? 50 : 1_000_000) && rows.next()) {
              equal(rows.getLong(1), ++seen);
            }
            must(size == 1 || !rows.next(), "more rows");
          }
        }
        connection.commit();
      });
    }
    check("adaptiveFetch", connection -> {
      connection.setAutoCommit(false);
      // Rows of one width: pgjdbc asks for as many as the widest so far lets it.
      String sql = "select v + 1000000 from generate_series(1, 200000) as g(v)";
      try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
        long sum = 0;
        while (rows.next()) {
          sum += rows.getLong(1);
        }
        equal(sum, 200_000L * 1_000_000 + 200_000L * 200_001 / 2);
      }
    }, "adaptiveFetch", "true", "maxResultBuffer", "1M", "defaultRowFetchSize", "100");
    check("two cursors at a time", connection -> {
      connection.setAutoCommit(false);
      try (Statement one = connection.createStatement(); Statement other = connection.createStatement()) {
        one.setFetchSize(10);
        other.setFetchSize(7);
        try (ResultSet a = one.executeQuery(MANY); ResultSet b = other.executeQuery(MANY)) {
          for (long i = 1; i <= 100; i++) {
            must(a.next() && b.next(), i);
            equal(a.getLong(1), i);
            equal(b.getLong(1), i);
          }
        }
      }
    });
    check("setMaxRows", connection -> {
      try (Statement statement = connection.createStatement()) {
        statement.setMaxRows(10);
        equal(column(statement.executeQuery(MANY), "v").size(), 10);
      }
    });
    check("a result that can be scrolled", connection -> {
      try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY);
          ResultSet rows = statement.executeQuery("select * from generate_series(1, 5) as g(v)")) {
        must(rows.last() && rows.getRow() == 5 && rows.absolute(2) && rows.getInt(1) == 2 && rows.previous(), "order");
      }
    });
    check("several statements at once", connection -> {
      try (Statement statement = connection.createStatement()) {
        must(statement.execute("select 1; select 2"), "no rows");
        must(statement.getMoreResults(), "no second");
        equal(column(statement.getResultSet(), "?column?").size() + "", "1");
      }
    });
    check("preferQueryMode=simple", connection -> {
      try (PreparedStatement statement = connection.prepareStatement("select count(*) from applications where duration_ms > ? and start_time > ? and name <> ?")) {
        statement.setLong(1, 5);
        statement.setTimestamp(2, new Timestamp(0));
        statement.setString(3, "it's");
        try (ResultSet rows = statement.executeQuery()) {
          rows.next();
          must(rows.getLong(1) > 0, rows.getLong(1));
        }
      }
    }, "preferQueryMode", "simple");
    check("escapes of JDBC", connection -> equal(one(connection, "select {fn ucase('a')} || {d '2026-01-02'}::text"), "A2026-01-02"));
    String[][] errors = {{"select * from nowhere", "42P01"}, {"select nothing from applications", "42703"}, {"selec 1", "42601"},
        {"select 1 / 0", "22012"}, {"select 'x'::int", "22P02"}, {"select no_such_function(1)", "42883"},
        {"select app_id, count(*) from applications", "42803"}, {"create table t (a int)", "25006"}, {"delete from applications", "25006"}};
    for (String[] error : errors) {
      check(error[1] + ": " + error[0], connection -> {
        failsWith(error[1], () -> connection.createStatement().execute(error[0]));
        failsWith(error[1], () -> connection.prepareStatement(error[0]).execute());
        equal(one(connection, "select 1"), 1);
      });
    }
  }

  static void transactions() {
    check("an error aborts the transaction until its end", connection -> {
      connection.setAutoCommit(false);
      failsWith("42P01", () -> one(connection, "select * from nowhere"));
      failsWith("25P02", () -> one(connection, "select 1"));
      connection.rollback();
      equal(one(connection, "select 1"), 1);
      connection.commit();
    });
    check("autosave: what failed is undone by a savepoint", connection -> {
      connection.setAutoCommit(false);
      equal(one(connection, "select 1"), 1);
      failsWith("42P01", () -> one(connection, "select * from nowhere"));
      equal(one(connection, "select 2"), 2);
      connection.commit();
    }, "autosave", "always");
    check("savepoints", connection -> {
      connection.setAutoCommit(false);
      Savepoint here = connection.setSavepoint("here");
      failsWith("42P01", () -> one(connection, "select * from nowhere"));
      connection.rollback(here);
      equal(one(connection, "select 1"), 1);
      connection.releaseSavepoint(here);
      connection.commit();
    });
    int[] levels = {Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE};
    for (int level : levels) {
      check("isolation level " + level, connection -> {
        connection.setTransactionIsolation(level);
        connection.setReadOnly(true);
        equal(connection.getTransactionIsolation(), level);
        connection.setAutoCommit(false);
        equal(one(connection, "show transaction_read_only"), "on");
        connection.commit();
      });
    }
    check("setSchema", connection -> {
      connection.setSchema("system");
      equal(connection.getSchema(), "system");
      must((Long) one(connection, "select count(*) from settings") > 0, "no settings");
    });
  }

  static void cancellation() {
    check("setQueryTimeout ends the statement and not the session", connection -> {
      try (Statement statement = connection.createStatement()) {
        statement.setQueryTimeout(1);
        isCancelled(() -> statement.executeQuery(ENDLESS));
        equal(one(connection, "select 1"), 1);
      }
    });
    check("cancel() from another thread", connection -> {
      var timer = Executors.newSingleThreadScheduledExecutor();
      try (Statement statement = connection.createStatement()) {
        timer.schedule(() -> {
          statement.cancel();
          return null;
        }, 1, TimeUnit.SECONDS);
        isCancelled(() -> statement.executeQuery(ENDLESS));
        equal(one(connection, "select 1"), 1);
      } finally {
        timer.shutdown();
      }
    });
    check("cancel() while a cursor is read", connection -> {
      connection.setAutoCommit(false);
      try (Statement statement = connection.createStatement()) {
        statement.setFetchSize(100);
        try (ResultSet rows = statement.executeQuery("select a.v from generate_series(1, 100000000) as a(v)")) {
          must(rows.next(), "no row");
          connection.rollback();
        }
      }
      equal(one(connection, "select 1"), 1);
    });
    check("statement_timeout in the options of the connection", connection -> isCancelled(() -> one(connection, ENDLESS)),
        "options", "-c statement_timeout=1000");
  }

  static void copies() {
    check("CopyManager: text, csv, binary", connection -> {
      CopyManager copies = connection.unwrap(PGConnection.class).getCopyAPI();
      long jobs = (Long) one(connection, "select count(*) from jobs");
      StringWriter text = new StringWriter();
      equal(copies.copyOut("copy (select job_id, stage_ids, name from jobs) to stdout", text), jobs);
      equal(text.toString().lines().count(), jobs);
      StringWriter csv = new StringWriter();
      equal(copies.copyOut("copy (select job_id, stage_ids from jobs) to stdout with (format csv, header)", csv), jobs);
      equal(csv.toString().lines().findFirst().get(), "job_id,stage_ids");
      ByteArrayOutputStream binary = new ByteArrayOutputStream();
      equal(copies.copyOut("copy jobs (job_id) to stdout (format binary)", binary), jobs);
      must(binary.toString(StandardCharsets.ISO_8859_1).startsWith("PGCOPY\n\377\r\n\0"), "head");
      equal((long) binary.size(), 19 + jobs * 10 + 2);
      failsWith("25006", () -> copies.copyIn("copy jobs from stdin"));
    });
  }
}
