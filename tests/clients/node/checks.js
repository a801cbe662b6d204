// node-postgres with its cursors and streams. tests/it/clients.rs says in CHECK_… where the server is and what it holds.
const fs = require('fs');
const { Client, Pool, Query } = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');

const { CHECK_HOST, CHECK_PORT, CHECK_USER, CHECK_PASSWORD, CHECK_CA, CHECK_TABLES } = process.env;
const ADDRESS = { host: CHECK_HOST, port: Number(CHECK_PORT), user: 'postgres', database: 'spark', connectionTimeoutMillis: 20000 };
const MANY = 'select v::int as v from generate_series(1, 1000000) as g(v) order by 1';
const ENDLESS = 'select sum(v) from generate_series(1, 100000000000) as g(v)';
const OIDS = {
  boolean: 16, integer: 23, bigint: 20, 'double precision': 701, text: 25, jsonb: 3802, 'timestamp with time zone': 1184,
  'integer[]': 1007, 'bigint[]': 1016, 'double precision[]': 1022, 'text[]': 1009,
};

let passed = 0;
let failed = 0;

async function check(name, body, options = {}) {
  const client = new Client({ ...ADDRESS, ...options });
  client.on('error', () => {});
  let timer;
  try {
    await client.connect();
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer within 120 s')), 120000); });
    await Promise.race([body(client), late]);
    passed++;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL ${name}: ${String(error.message).replace(/\s+/g, ' ').slice(0, 2000)}`);
  } finally {
    clearTimeout(timer);
    client.end().catch(() => {});
  }
}

function equal(seen, wanted, what = '') {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what} ${a} and not ${b}`);
}

async function failsWith(code, body) {
  try {
    await body();
  } catch (error) {
    return equal(error.code, code, error.message);
  }
  throw new Error(`no ${code}`);
}

// A statement without end has to end soon after it was cancelled, and not before.
async function isCancelled(body) {
  const begin = Date.now();
  await failsWith('57014', body);
  const took = Date.now() - begin;
  if (took < 500 || took > 30000) throw new Error(`it took ${took} ms`);
}

// JSON.parse with whole numbers beyond 2^53 as texts, which is what pg makes of a bigint.
function parseRow(line) {
  return JSON.parse(line.replace(/([:[,])(-?\d{16,})(?=[,}\]])/g, '$1"$2"'));
}

function sameJson(seen, wanted) {
  if (Array.isArray(seen) && Array.isArray(wanted)) return seen.length === wanted.length && seen.every((item, at) => sameJson(item, wanted[at]));
  if (seen && wanted && typeof seen === 'object' && typeof wanted === 'object') {
    const names = Object.keys(seen).sort();
    return JSON.stringify(names) === JSON.stringify(Object.keys(wanted).sort()) && names.every((name) => sameJson(seen[name], wanted[name]));
  }
  return seen === wanted;
}

// Whether a value is of the class that pg gives for the type, and is what JSON shows.
function same(seen, wanted, type) {
  if (seen === null || wanted === null) return seen === wanted;
  if (type.endsWith('[]')) {
    return Array.isArray(seen) && seen.length === wanted.length && seen.every((item, at) => same(item, wanted[at], type.slice(0, -2)));
  }
  switch (type) {
    case 'bigint': return typeof seen === 'string' && seen === String(wanted);
    case 'integer': case 'double precision': return typeof seen === 'number' && seen === Number(wanted);
    case 'boolean': return typeof seen === 'boolean' && seen === wanted;
    case 'text': return typeof seen === 'string' && seen === wanted;
    // Date of JavaScript has no microseconds.
    case 'timestamp with time zone': return seen instanceof Date && seen.toISOString().slice(0, 23) === wanted.slice(0, 23);
    case 'jsonb': return sameJson(seen, wanted);
    default: throw new Error(`no table has the type ${type}`);
  }
}

function assertRows(table, rows) {
  equal(rows.length, table.rows.length, 'rows');
  rows.forEach((row, at) => table.columns.forEach((column, i) => {
    if (!same(row[i], table.rows[at][i], column.type)) {
      throw new Error(`row ${at}, ${column.name}: ${JSON.stringify(row[i])} and not ${JSON.stringify(table.rows[at][i])}`);
    }
  }));
}

const tables = JSON.parse(fs.readFileSync(CHECK_TABLES, 'utf8'));
for (const table of tables) {
  const lines = fs.readFileSync(table.rows, 'utf8').split('\n').filter((line) => line);
  table.full = `${table.schema}.${table.name}`;
  table.rows = lines.map((line) => Object.values(parseRow(line)));
}

async function main() {
  const ca = fs.readFileSync(CHECK_CA, 'utf8');
  const verified = { user: CHECK_USER, password: CHECK_PASSWORD, ssl: { ca } };
  await check('log-in with SCRAM over TLS that is verified', async (client) => {
    equal((await client.query('select current_user as me')).rows, [{ me: CHECK_USER }]);
    equal(client.connection.stream.authorized, true);
  }, verified);
  await check('log-in with SCRAM bound to the channel', async (client) => {
    equal((await client.query('select current_user as me')).rows, [{ me: CHECK_USER }]);
  }, { ...verified, enableChannelBinding: true });
  await check('a wrong password is 28P01, and none works without TLS', async () => {
    await failsWith('28P01', () => new Client({ ...ADDRESS, ...verified, password: 'wrong' }).connect());
    await failsWith('28000', () => new Client({ ...ADDRESS, user: CHECK_USER, password: CHECK_PASSWORD }).connect());
  });

  for (const table of tables) {
    await check(`every value of ${table.full}`, async (client) => {
      const result = await client.query({ text: table.sql, rowMode: 'array' });
      equal(result.fields.map((field) => [field.name, field.dataTypeID]), table.columns.map((column) => [column.name, OIDS[column.type]]));
      assertRows(table, result.rows);
    });
    await check(`a named statement reads ${table.full} twice`, async (client) => {
      for (let run = 0; run < 2; run++) assertRows(table, (await client.query({ name: 'read', text: table.sql, rowMode: 'array' })).rows);
    });
  }

  const moment = new Date('2026-11-21T06:30:00.123Z');
  const parameters = {
    bool: [true, false], int2: [-32768], int4: [2147483647], int8: ['-9223372036854775808'], float4: [1.5], float8: [0.1, -1e300],
    numeric: ['-12345678901234567890.0123456789'], text: ['quote \' backslash \\ tab \t ünï 🎉', ''], varchar: ['v'],
    bytea: [Buffer.from([0, 255, 39, 92])], timestamptz: [moment], uuid: ['01234567-89ab-cdef-0123-456789abcdef'],
    'int4[]': [[1, null, -3]], 'text[]': [['a,b', 'quote"', '\\', null, '', 'null']], 'bool[]': [[true, false]], 'float8[]': [[0.5]],
    json: [{ a: [1, 2.5, null, 'ü'], b: {} }], jsonb: [{ a: [1, 2.5, null, 'ü'], b: {} }],
  };
  const oids = {
    bool: 16, int2: 21, int4: 23, int8: 20, float4: 700, float8: 701, numeric: 1700, text: 25, varchar: 1043, bytea: 17, timestamptz: 1184,
    uuid: 2950, 'int4[]': 1007, 'text[]': 1009, 'bool[]': 1000, 'float8[]': 1022, json: 114, jsonb: 3802,
  };
  for (const [type, values] of Object.entries(parameters)) {
    await check(`parameters of ${type}`, async (client) => {
      for (const value of [...values, null]) {
        const result = await client.query(`select $1::${type} as v`, [value]);
        equal(result.rows[0].v, value);
        equal(result.fields[0].dataTypeID, oids[type]);
      }
    });
  }
  await check('generate_series of integers gives integers', async (client) => {
    equal((await client.query('select * from generate_series(1, 3) as g(v)')).rows, [{ v: 1 }, { v: 2 }, { v: 3 }]);
  });
  await check('texts of dates, times and intervals', async (client) => {
    client.setTypeParser(1082, (text) => text);
    const texts = ['2026-02-28', '23:59:59.999999', '1969-12-31 23:59:59.999999'];
    const result = await client.query('select $1::date as d, $2::time as t, $3::timestamp::text as s, $4::interval as i', [...texts, '2 days 03:00:04.5']);
    const { d, t, s, i } = result.rows[0];
    equal([d, t, s], texts);
    equal({ ...i }, { days: 2, hours: 3, seconds: 4, milliseconds: 500 });
  });
  await check('the server finds the types of parameters', async (client) => {
    const known = (await client.query('select count(*) as n from applications where duration_ms > 5 and completed')).rows[0].n;
    const sql = 'select count(*) as n from applications where duration_ms > $1 and start_time > $2 and not (app_id = any($3)) and completed = $4';
    equal((await client.query(sql, [5, new Date(0), ['a', 'b'], true])).rows, [{ n: known }]);
    equal(Number(known) > 0, true);
  });

  await check('a cursor reads on where it stopped', async (client) => {
    const cursor = client.query(new Cursor(MANY));
    equal((await cursor.read(10)).map((row) => row.v), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    equal((await cursor.read(3)).map((row) => row.v), [11, 12, 13]);
    await cursor.close();
    equal((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  });
  await check('a stream reads 100,000 rows', async (client) => {
    let sum = 0;
    for await (const row of client.query(new QueryStream(`select v from (${MANY}) q limit 100000`, [], { batchSize: 1000 }))) sum += row.v;
    equal(sum, 100000 * 100001 / 2);
  });
  await check('a stream that is destroyed ends its portal', async (client) => {
    let seen = 0;
    for await (const row of client.query(new QueryStream(MANY, [], { batchSize: 100 }))) if (row.v && ++seen === 150) break;
    equal(seen, 150);
    equal((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  });

  const errors = [
    ['select * from nowhere', '42P01'], ['select nothing from applications', '42703'], ['selec 1', '42601'], ['select 1 / 0', '22012'],
    ["select 'x'::int", '22P02'], ['select no_such_function(1)', '42883'], ['create table t (a int)', '25006'], ['delete from jobs', '25006'],
  ];
  for (const [sql, code] of errors) {
    await check(`${code}: ${sql}`, async (client) => {
      await failsWith(code, () => client.query(sql));
      await failsWith(code, () => client.query({ name: 'prepared', text: sql, values: [] }));
      equal((await client.query('select 1 as one')).rows, [{ one: 1 }]);
    });
  }
  await check('an error has its severity and its place in the statement', async (client) => {
    try {
      await client.query('select 1 +');
    } catch (error) {
      return equal([error.severity, error.code, error.position], ['ERROR', '42601', '11']);
    }
    throw new Error('no error');
  });
  await check('transactions and savepoints', async (client) => {
    await client.query('begin');
    await failsWith('42P01', () => client.query('select * from nowhere'));
    await failsWith('25P02', () => client.query('select 1'));
    equal((await client.query('commit')).command, 'ROLLBACK');
    await client.query('begin isolation level repeatable read read only');
    await client.query('savepoint here');
    await failsWith('42P01', () => client.query('select * from nowhere'));
    await client.query('rollback to here');
    equal((await client.query('select 1 as one')).rows, [{ one: 1 }]);
    equal((await client.query('commit')).command, 'COMMIT');
  });
  await check('pg_cancel_backend ends the statement of another session', async (client) => {
    const other = new Client(ADDRESS);
    other.on('error', () => {});
    await other.connect();
    const cancel = async () => {
      await new Promise((resolve) => { setTimeout(resolve, 1000); });
      equal((await client.query('select pg_cancel_backend($1) as done', [other.processID])).rows, [{ done: true }]);
    };
    try {
      await Promise.all([isCancelled(() => other.query(ENDLESS)), cancel()]);
      equal((await other.query('select 1 as one')).rows, [{ one: 1 }]);
    } finally {
      other.connection.stream.destroy();
    }
  });
  await check('the cancel request of the protocol ends the statement', async (client) => {
    setTimeout(() => new Client(ADDRESS).cancel(client, running), 1000);
    const running = new Query(ENDLESS);
    await isCancelled(() => new Promise((resolve, reject) => { running.callback = (error) => (error ? reject(error) : resolve()); client.query(running); }));
    equal((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  });
  await check('statement_timeout of the client', async (client) => {
    await isCancelled(() => client.query(ENDLESS));
    equal((await client.query('select 1 as one')).rows, [{ one: 1 }]);
  }, { statement_timeout: 1000 });
  await check('query_timeout of the client: the connection is dropped and the statement ends', async (client) => {
    let message = '';
    await client.query({ text: ENDLESS, query_timeout: 1000 }).catch((error) => { message = error.message; });
    equal(message, 'Query read timeout');
    client.connection.stream.destroy();
  });
  await check('several statements at once', async (client) => {
    const results = await client.query('select 1 as a; select 2 as b; set application_name = \'x\'');
    equal(results.map((result) => [result.command, result.rows]), [['SELECT', [{ a: 1 }]], ['SELECT', [{ b: 2 }]], ['SET', []]]);
  });
  await check('an empty statement', async (client) => equal((await client.query('')).rows, []));
  await check('a pool of 4 for 40 questions', async () => {
    const pool = new Pool({ ...ADDRESS, max: 4 });
    const seen = await Promise.all([...Array(40).keys()].map((at) => pool.query('select count(*)::int + $1 as n from jobs', [at])));
    equal(seen.map((result, at) => result.rows[0].n - at), Array(40).fill(seen[0].rows[0].n));
    await pool.end();
  });

  console.log(`${passed} passed, ${failed} failed`);
  process.exit(passed > 0 && failed === 0 ? 0 : 1);
}

main();
