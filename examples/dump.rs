use std::sync::Arc;
use sparkgate::event_log::*;
use sparkgate::replay::LiveApplication;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let mut out = std::fs::File::create(&args[1]).unwrap();
    use std::io::Write;
    for t in sparkgate::table::all() { for c in t.columns { out.write_all(format!("{{\"def\":\"{}\",\"col\":\"{}\",\"rest\":\"{}\"}}\n", t.name, c.name, c.rest).as_bytes()).unwrap(); } }
    for path in &args[2..] {
        let data = std::fs::read(path).unwrap();
        let mut live = LiveApplication::new();
        for line in data.split(|b| *b == b'\n') { if !line.is_empty() { live.apply_line(line); } }
        let log = Arc::new(EventLog { path: path.clone(), identity: path.clone(), rolling: false, files: vec![], in_progress: false, size_bytes: data.len() as u64, modified_ms: 0 });
        eprintln!("{path} {:?}", live.report());
        let Some(rows) = live.rows(&log) else { continue };
        for (name, batches) in &rows.tables {
            for b in batches {
                let mut buf = Vec::new();
                let mut w = arrow::json::WriterBuilder::new().with_explicit_nulls(true).build::<_, arrow::json::writer::LineDelimited>(&mut buf);
                w.write(b).unwrap(); w.finish().unwrap(); drop(w);
                for l in buf.split(|b| *b == b'\n') { if l.is_empty() { continue; }
                    out.write_all(format!("{{\"table\":\"{name}\",\"row\":").as_bytes()).unwrap(); out.write_all(l).unwrap(); out.write_all(b"}\n").unwrap(); }
            }
        }
    }
}
