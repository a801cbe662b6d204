import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.MiniDFSNNTopology;
import org.apache.hadoop.hdfs.protocol.HdfsConstants;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * A real HDFS in one JVM: {@code MiniHdfs DIR [ha] [kerberos] [privacy|integrity] [dn=N] [KEY=VALUE]...}.
 *
 * Prints {@code ready CONTROL_PORT} when it can be used; DIR/conf then has what a client's HADOOP_CONF_DIR has. It ends when its standard
 * input does, so that it does not outlive who started it. A command on the control port is one line of words with tabs between them.
 */
public class MiniHdfs {
  static final String NAMESERVICE = "rigns";
  static MiniDFSCluster dfs;
  static FileSystem fs;
  static final Deque<MiniDFSCluster.DataNodeProperties> stoppedDataNodes = new ArrayDeque<>();
  static final Map<String, FSDataOutputStream> open = new ConcurrentHashMap<>();

  public static void main(String[] args) throws Exception {
    File dir = new File(args[0]).getAbsoluteFile();
    Set<String> flags = new HashSet<>(Arrays.asList(args));
    boolean ha = flags.contains("ha");
    boolean kerberos = flags.contains("kerberos");
    String protection = flags.contains("privacy") ? "privacy" : flags.contains("integrity") ? "integrity" : "authentication";
    int dataNodes = 1;
    System.setProperty("test.build.data", dir + "/data");
    Configuration c = new HdfsConfiguration();
    // Small blocks: a log of some megabytes has several.
    c.set("dfs.blocksize", "1048576");
    c.set("dfs.namenode.fs-limits.min-block-size", "1024");
    c.set("dfs.permissions.enabled", "true");
    c.set("hadoop.proxyuser.gateway.hosts", "*");
    c.set("hadoop.proxyuser.gateway.users", "*");
    for (String arg : args) {
      if (arg.startsWith("dn=")) dataNodes = Integer.parseInt(arg.substring(3));
      else if (arg.contains("=")) c.set(arg.substring(0, arg.indexOf('=')), arg.substring(arg.indexOf('=') + 1));
    }
    if (kerberos) {
      String keytab = dir + "/service.keytab", principal = "hdfs/localhost@RIG.TEST";
      c.set("hadoop.security.authentication", "kerberos");
      c.set("hadoop.security.authorization", "true");
      c.set("hadoop.rpc.protection", protection);
      c.set("dfs.data.transfer.protection", protection);
      c.set("dfs.block.access.token.enable", "true");
      c.set("ignore.secure.ports.for.testing", "true");
      for (String node : new String[] {"namenode", "datanode"}) {
        c.set("dfs." + node + ".keytab.file", keytab);
        c.set("dfs." + node + ".kerberos.principal", principal);
      }
      c.set("dfs.web.authentication.kerberos.principal", "HTTP/localhost@RIG.TEST");
      c.set("dfs.web.authentication.kerberos.keytab", keytab);
      c.set("hadoop.http.authentication.type", "kerberos");
      c.set("hadoop.http.authentication.simple.anonymous.allowed", "false");
      c.set("hadoop.http.authentication.kerberos.principal", "HTTP/localhost@RIG.TEST");
      c.set("hadoop.http.authentication.kerberos.keytab", keytab);
      UserGroupInformation.setConfiguration(c);
      UserGroupInformation.loginUserFromKeytab(principal, keytab);
    }
    int[] rpc = {freePort(), freePort()}, http = {freePort(), freePort()};
    MiniDFSCluster.Builder builder = new MiniDFSCluster.Builder(c).numDataNodes(dataNodes);
    if (ha) {
      MiniDFSNNTopology.NSConf service = new MiniDFSNNTopology.NSConf(NAMESERVICE);
      for (int n = 0; n < 2; n++)
        service.addNN(new MiniDFSNNTopology.NNConf("nn" + (n + 1)).setIpcPort(rpc[n]).setHttpPort(http[n]));
      builder.nnTopology(new MiniDFSNNTopology().addNameservice(service));
    } else {
      builder.nameNodePort(rpc[0]).nameNodeHttpPort(http[0]);
    }
    dfs = builder.build();
    if (ha) dfs.transitionToActive(0);
    dfs.waitActive();

    Map<String, String> core = new LinkedHashMap<>(), site = new LinkedHashMap<>();
    core.put("fs.defaultFS", ha ? "hdfs://" + NAMESERVICE : "hdfs://127.0.0.1:" + rpc[0]);
    core.put("hadoop.security.authentication", kerberos ? "kerberos" : "simple");
    if (kerberos) {
      core.put("hadoop.rpc.protection", protection);
      site.put("dfs.data.transfer.protection", protection);
      site.put("dfs.namenode.kerberos.principal", "hdfs/localhost@RIG.TEST");
    }
    if (ha) {
      site.put("dfs.nameservices", NAMESERVICE);
      site.put("dfs.ha.namenodes." + NAMESERVICE, "nn1,nn2");
      for (int n = 0; n < 2; n++) {
        site.put("dfs.namenode.rpc-address." + NAMESERVICE + ".nn" + (n + 1), "127.0.0.1:" + rpc[n]);
        site.put("dfs.namenode.http-address." + NAMESERVICE + ".nn" + (n + 1), "localhost:" + http[n]);
      }
      site.put("dfs.client.failover.proxy.provider." + NAMESERVICE,
          "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider");
    } else {
      site.put("dfs.namenode.http-address", "localhost:" + http[0]);
    }
    new File(dir, "conf").mkdirs();
    write(new File(dir, "conf/core-site.xml"), core);
    write(new File(dir, "conf/hdfs-site.xml"), site);
    Configuration client = new Configuration(c);
    core.forEach(client::set);
    site.forEach(client::set);
    // Streams that stay open, and one client that finds the active NameNode.
    fs = FileSystem.newInstance(URI.create(core.get("fs.defaultFS")), client);

    Thread owner = new Thread(() -> {
      try {
        while (System.in.read() >= 0) {}
      } catch (IOException e) {
        // As good as its end.
      }
      Runtime.getRuntime().halt(0);
    });
    owner.setDaemon(true);
    owner.start();
    try (ServerSocket control = new ServerSocket(0, 20, InetAddress.getByName("127.0.0.1"))) {
      System.out.println("ready " + control.getLocalPort());
      while (true) {
        Socket socket = control.accept();
        Thread answer = new Thread(() -> answer(socket));
        answer.setDaemon(true);
        answer.start();
      }
    }
  }

  static void answer(Socket accepted) {
    try (Socket socket = accepted;
        BufferedReader in = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(socket.getOutputStream(), true, "UTF-8")) {
      String line = in.readLine();
      if (line == null) return;
      try {
        out.println("ok " + run(line.split("\t")));
      } catch (Throwable e) {
        out.println("error " + e.toString().replace('\n', ' '));
      }
    } catch (IOException e) {
      // Who asked has gone.
    }
  }

  static String run(String[] w) throws Exception {
    switch (w[0]) {
      case "put":                                        // put LOCAL PATH: a file or a directory, with its modification times
        put(new File(w[1]), new Path(w[2]));
        return w[2];
      case "append": {                                   // append PATH LOCAL OFFSET LENGTH: writes on and flushes; the file stays open
        FSDataOutputStream out = open.get(w[1]);
        if (out == null) open.put(w[1], out = fs.create(new Path(w[1])));
        byte[] bytes = new byte[Integer.parseInt(w[4])];
        try (RandomAccessFile file = new RandomAccessFile(w[2], "r")) {
          file.seek(Long.parseLong(w[3]));
          file.readFully(bytes);
        }
        out.write(bytes);
        out.hflush();
        return w[1];
      }
      case "close": open.remove(w[1]).close(); return w[1];
      case "mkdir": fs.mkdirs(new Path(w[1])); return w[1];
      case "create": fs.create(new Path(w[1])).close(); return w[1];
      case "rename": return "" + fs.rename(new Path(w[1]), new Path(w[2]));
      case "delete":                                     // Who was writing it has gone too.
        open.remove(w[1]);
        return "" + fs.delete(new Path(w[1]), true);
      case "length": return "" + fs.getFileStatus(new Path(w[1])).getLen();
      case "chown": fs.setOwner(new Path(w[1]), w[2], w[2]); return w[1];
      case "chmod": fs.setPermission(new Path(w[1]), new FsPermission(w[2])); return w[1];
      case "active": {                                   // active N: an orderly fail-over
        int n = Integer.parseInt(w[1]);
        dfs.transitionToStandby(1 - n);
        dfs.transitionToActive(n);
        return w[1];
      }
      case "kill-nn": dfs.shutdownNameNode(Integer.parseInt(w[1])); return w[1];
      case "start-nn": dfs.restartNameNode(Integer.parseInt(w[1]), w.length > 2); return w[1];
      case "promote": dfs.transitionToActive(Integer.parseInt(w[1])); return w[1];
      case "kill-dn": stoppedDataNodes.push(dfs.stopDataNode(Integer.parseInt(w[1]))); return w[1];
      case "start-dn": dfs.restartDataNode(stoppedDataNodes.pop()); return "";
      case "wait":                                       // until a NameNode that was started can be used
        dfs.waitActive();
        while (dfs.getNameNode().isInSafeMode()) Thread.sleep(50);
        while (true) {
          try {
            return "" + fs.exists(new Path("/"));
          } catch (IOException e) {
            // The connection to the NameNode that was stopped.
            Thread.sleep(50);
          }
        }
      case "safemode":                                   // safemode N enter|leave
        dfs.getNameNodeRpc(Integer.parseInt(w[1]))
            .setSafeMode(HdfsConstants.SafeModeAction.valueOf("SAFEMODE_" + w[2].toUpperCase()), false);
        return w[2];
      default: throw new IllegalArgumentException(w[0]);
    }
  }

  static void put(File from, Path to) throws IOException {
    if (from.isDirectory()) {
      fs.mkdirs(to);
      for (File file : from.listFiles()) put(file, new Path(to, file.getName()));
    } else {
      fs.copyFromLocalFile(new Path(from.toURI()), to);
    }
    fs.setTimes(to, from.lastModified(), -1);
  }

  /** Below the ports that outgoing connections get, so that one that was freed for a moment can be taken again. */
  static int freePort() throws IOException {
    Random random = new Random();
    while (true) {
      int port = 20000 + random.nextInt(12000);
      try (ServerSocket s = new ServerSocket()) {
        s.bind(new InetSocketAddress("127.0.0.1", port));
        return port;
      } catch (IOException e) {
        // Taken.
      }
    }
  }

  static void write(File file, Map<String, String> properties) throws IOException {
    StringBuilder s = new StringBuilder("<?xml version=\"1.0\"?>\n<configuration>\n");
    properties.forEach((k, v) -> s.append("  <property><name>").append(k).append("</name><value>").append(v).append("</value></property>\n"));
    Files.write(file.toPath(), s.append("</configuration>\n").toString().getBytes(StandardCharsets.UTF_8));
  }
}
