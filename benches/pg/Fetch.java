import java.sql.DriverManager;
import java.util.Properties;

/** Fetch PORT DATABASE QUERY: reads all rows by pgjdbc with a fetch size of 10,000; prints their number and the seconds. */
public class Fetch {
  public static void main(String[] args) throws Exception {
    var properties = new Properties();
    properties.put("user", "bench");
    properties.put("password", System.getenv("PGPASSWORD"));
    properties.put("sslmode", "disable");
    try (var connection = DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + args[0] + "/" + args[1], properties)) {
      connection.setAutoCommit(false);
      try (var statement = connection.createStatement()) {
        statement.setFetchSize(10_000);
        long started = System.nanoTime();
        long rows = 0;
        try (var result = statement.executeQuery(args[2])) {
          int columns = result.getMetaData().getColumnCount();
          while (result.next()) {
            rows++;
            if (result.getObject(1) == null || result.getObject(columns) == result) {
              throw new IllegalStateException("every task has an application");
            }
          }
        }
        System.out.println(rows + " " + (System.nanoTime() - started) / 1e9);
      }
    }
  }
}
